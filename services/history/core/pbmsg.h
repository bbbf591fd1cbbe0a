/*
 * Protobuf messages in an arena: made empty, packed, unpacked. For our own data, so the arena's limit does not count.
 */
#ifndef SERVICES_HISTORY_CORE_PBMSG_H
#define SERVICES_HISTORY_CORE_PBMSG_H

#include "common/mem/arena.h"

/* An empty message with its defaults. */
void *pb_new(struct arena *a, const ProtobufCMessageDescriptor *descriptor);
#define pb_new0(a, type, prefix) pb_new0_((a), type, prefix)
/* One level deeper, so that `prefix` may be a macro. */
#define pb_new0_(a, type, prefix) ((type *)pb_new((a), &prefix##__descriptor))

/* NULL gives absent (no bytes). A present but empty message gives no bytes either; where that matters keep a flag. */
ProtobufCBinaryData pb_pack(struct arena *a, const ProtobufCMessage *m);
/* NULL when the bytes are empty (absent) or no such message (which our own state never holds). */
void *pb_unpack(struct arena *a, const ProtobufCMessageDescriptor *descriptor, ProtobufCBinaryData packed);

/* "EVENT_TYPE_TIMER_FIRED" without its prefix as clients know it from texts: "TimerFired". */
char *pb_enum_short_name(struct arena *a, const ProtobufCEnumDescriptor *descriptor, int value, const char *prefix);

static inline struct bytes pb_bytes(ProtobufCBinaryData d)
{
	return bytes_of(d.data, d.len);
}

#endif
