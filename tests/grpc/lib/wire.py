"""An HTTP/2 client that sends exactly the frames it is told to."""

import socket
import struct
import time

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ECHO = "/perdure.test.Echo/Echo"


def message(content, compressed=0, length=None):
    return bytes([compressed]) + struct.pack(">I", len(content) if length is None else length) + content


class Closed(Exception):
    """The server hung up."""


class Wire:
    def __init__(self, port, preface=True, settings=None, sock=None):
        self.socket = sock or socket.create_connection(("127.0.0.1", port), 10)
        self.socket.settimeout(10)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.decoder.max_allowed_table_size = 4096
        self.input = b""
        self.next_id = 1
        self.answer_pings = True
        if preface:
            settings = settings or {SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 30}
            self.send(PREFACE + self.frame(SettingsFrame(0, settings=settings)))
            self.window(0, 1 << 30)
            self.until(SettingsFrame)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Closed from e

    @staticmethod
    def frame(frame, *flags):
        for flag in flags:
            frame.flags.add(flag)
        return frame.serialize()

    # ---- sending ----

    def headers(self, path=ECHO, end=False, drop=(), stream=None, send=True, **extra):
        """A request's headers; names with _ for -. Answers the stream's id (or the bytes)."""
        if stream is None:
            stream = self.next_id
            self.next_id += 2
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        fields.update({(":method" if k == "method" else k.replace("_", "-")): v for k, v in extra.items()})
        block = self.encoder.encode([(k, v) for k, v in fields.items() if k not in drop])
        pieces = [block[i : i + 16384] for i in range(0, len(block), 16384)]
        frames = [HeadersFrame(stream, data=pieces[0])]
        frames += [ContinuationFrame(stream, data=piece) for piece in pieces[1:]]
        frames[-1].flags.add("END_HEADERS")
        data = self.frame(frames[0], *(["END_STREAM"] if end else []))
        data += b"".join(self.frame(frame) for frame in frames[1:])
        if not send:
            return stream, data
        self.send(data)
        return stream

    def data(self, stream, content, end=True):
        """Content of any length, in frames of 16 KB. Does not mind windows."""
        pieces = [content[i : i + 16384] for i in range(0, len(content), 16384)] or [b""]
        out = b""
        for i, piece in enumerate(pieces):
            last = end and i == len(pieces) - 1
            out += self.frame(DataFrame(stream, data=piece), *(["END_STREAM"] if last else []))
        self.send(out)

    def call(self, content=b"", path=ECHO, **headers):
        stream = self.headers(path, **headers)
        self.data(stream, message(content))
        return stream

    def ping(self, payload=b"12345678"):
        self.send(self.frame(PingFrame(0, opaque_data=payload)))

    def reset(self, stream):
        self.send(self.frame(RstStreamFrame(stream, error_code=8)))

    def window(self, stream, increment):
        self.send(self.frame(WindowUpdateFrame(stream, window_increment=increment)))

    def continuation(self, stream, block, end=False):
        self.send(self.frame(ContinuationFrame(stream, data=block), *(["END_HEADERS"] if end else [])))

    # ---- receiving ----

    def read(self, n):
        while len(self.input) < n:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError as e:
                raise Closed from e
            if not more:
                raise Closed
            self.input += more
        out, self.input = self.input[:n], self.input[n:]
        return out

    def next(self):
        """The next frame; SETTINGS and PING are answered."""
        frame, length = Frame.parse_frame_header(memoryview(self.read(9)))
        frame.parse_body(memoryview(self.read(length)))
        if isinstance(frame, HeadersFrame):
            frame.fields = dict(self.decoder.decode(frame.data))
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.send(self.frame(SettingsFrame(0), "ACK"))
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags and self.answer_pings:
            self.send(self.frame(PingFrame(0, opaque_data=frame.opaque_data), "ACK"))
        return frame

    def until(self, kind, stream=None):
        while True:
            frame = self.next()
            if isinstance(frame, kind) and stream in (None, frame.stream_id):
                return frame

    def answer(self, stream):
        """(headers and trailers together, body) of a stream; a reset is {'reset': code}."""
        fields, body = {}, b""
        while True:
            frame = self.next()
            if frame.stream_id != stream:
                continue
            if isinstance(frame, HeadersFrame):
                fields.update(frame.fields)
            if isinstance(frame, DataFrame):
                body += frame.data
            if isinstance(frame, RstStreamFrame):
                return {"reset": frame.error_code, **fields}, body
            if "END_STREAM" in frame.flags:
                return fields, body

    def goaway(self):
        """The first GOAWAY that names an error; until the connection's end."""
        found = None
        try:
            while True:
                frame = self.next()
                if isinstance(frame, GoAwayFrame) and found is None and frame.error_code:
                    found = (frame.error_code, bytes(frame.additional_data))
        except Closed:
            return found

    def closed_within(self, seconds):
        """Reads until the server hangs up; how long that took."""
        start = time.monotonic()
        self.socket.settimeout(seconds)
        try:
            while True:
                self.next()
        except Closed:
            return time.monotonic() - start
