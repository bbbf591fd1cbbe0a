"""One server's public API, called without any SDK: requests are plain dicts, replies are protobuf messages.

Methods are found through the descriptors, so that no case waits for a helper when it needs another method.
"""

import grpc
from google.protobuf import json_format, message_factory
from google.rpc import status_pb2

# Imported so that every message that can travel in an Any is known to the pool.
from temporalio.api.errordetails.v1 import message_pb2 as _errordetails  # noqa: F401
from temporalio.api.failure.v1 import message_pb2 as _failure  # noqa: F401
from temporalio.api.operatorservice.v1 import service_pb2 as operator_service
from temporalio.api.workflowservice.v1 import service_pb2 as workflow_service

MESSAGE_BYTES_MAX = 64 * 1024 * 1024


class Refused(Exception):
    """A call that the server answered with an error."""

    def __init__(self, method, code, text, details):
        super().__init__(f"{method}: {code}: {text}")
        self.method = method
        self.code = code
        self.text = text
        self.details = details


def _methods():
    table = {}
    for module, service in ((workflow_service, "WorkflowService"), (operator_service, "OperatorService")):
        descriptor = module.DESCRIPTOR.services_by_name[service]
        for method in descriptor.methods:
            table[method.name] = (
                f"/{descriptor.full_name}/{method.name}",
                message_factory.GetMessageClass(method.input_type),
                message_factory.GetMessageClass(method.output_type),
            )
    return table


METHODS = _methods()


def as_message(method, request):
    """The request message of a method; `request` is a dict in protobuf's JSON form, or the message itself."""
    return json_format.ParseDict(request, METHODS[method][1]()) if isinstance(request, dict) else request


def _details(error):
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status()
            status.ParseFromString(value)
            return list(status.details)
    return []


class Wire:
    """A channel to one address. Belongs to the event loop that it was made on. `authority`: PEM, for TLS."""

    def __init__(self, address, authority=None):
        self.address = address
        options = [
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if authority is None:
            self._channel = grpc.aio.insecure_channel(address, options=options)
        else:
            credentials = grpc.ssl_channel_credentials(root_certificates=authority)
            self._channel = grpc.aio.secure_channel(address, credentials, options=options)

    async def close(self):
        await self._channel.close()

    async def ready(self, timeout_s):
        """Waits until the server accepts connections and serves the default namespace."""
        await self.call("GetSystemInfo", {}, timeout_s=timeout_s, wait_for_ready=True)

    async def call(self, method, request, timeout_s=20.0, metadata=None, wait_for_ready=False):
        """Calls `method` with `request` (a dict in protobuf's JSON form, or a message); raises Refused."""
        path, request_type, response_type = METHODS[method]
        request = as_message(method, request)
        stub = self._channel.unary_unary(
            path,
            request_serializer=request_type.SerializeToString,
            response_deserializer=response_type.FromString,
        )
        try:
            return await stub(request, timeout=timeout_s, metadata=metadata, wait_for_ready=wait_for_ready)
        except grpc.aio.AioRpcError as error:
            raise Refused(method, error.code().name, error.details() or "", _details(error)) from None
