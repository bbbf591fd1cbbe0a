/*
 * One log line as text: JSON or key=value.
 */
#ifndef COMMON_LOG_LOG_LINE_H
#define COMMON_LOG_LOG_LINE_H

#include "common/log/log.h"

void log_line_begin(struct buf *out, bool text_format, int64_t wall_ns, enum log_level level, const char *text);
/* A field whose string is NULL adds nothing. */
void log_line_field(struct buf *out, bool text_format, const struct log_field *field);
void log_line_end(struct buf *out, bool text_format);

#endif
