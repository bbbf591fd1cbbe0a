/*
 * Failures that the server itself states, and how a failure is cut to a size.
 */
#ifndef SERVICES_HISTORY_CORE_FAILURE_H
#define SERVICES_HISTORY_CORE_FAILURE_H

#include <temporal/api/failure/v1/message.pb-c.h>

#include "common/mem/arena.h"

/* The texts must live as long as the arena. */
Temporal__Api__Failure__V1__Failure *failure_server(struct arena *a, const char *message, bool non_retryable);
Temporal__Api__Failure__V1__Failure *failure_timeout(struct arena *a, const char *message,
						     Temporal__Api__Enums__V1__TimeoutType type);
/*
 * At most about max_bytes of it: the kind and type survive first, then source, message, stack trace and causes, each
 * cut where the room ends (between characters). Details and encoded attributes are dropped. NULL gives NULL.
 */
Temporal__Api__Failure__V1__Failure *failure_truncate(struct arena *a, const Temporal__Api__Failure__V1__Failure *f,
						      size_t max_bytes);

#endif
