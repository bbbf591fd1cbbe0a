/*
 * JSON as an answer.
 */
#ifndef COMMON_HTTP_JSON_H
#define COMMON_HTTP_JSON_H

#include <jansson.h>

#include "common/http/http.h"

/* Ends the request; the value is freed. */
void http_reply_json(struct http_request *req, int status, json_t *value);
/* {"error": text} */
void http_reply_json_error(struct http_request *req, int status, const char *text);

#endif
