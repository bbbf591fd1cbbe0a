/*
 * JSON as an answer; see json.h.
 */
#include "common/http/json.h"

#include <stdlib.h>

void http_reply_json(struct http_request *req, int status, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(value);
	if (!text) /* a string that is not UTF-8: ids are, so it is our mistake, but none to end a daemon for */
		http_reply_text(req, 500, "the answer cannot be written as JSON\n");
	else
		http_reply(req, status, "application/json", bytes_str(text));
	free(text);
}

void http_reply_json_error(struct http_request *req, int status, const char *text)
{
	http_reply_json(req, status, json_pack("{s:s}", "error", text));
}
