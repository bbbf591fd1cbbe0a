/*
 * What an operator sees of a matching node, over its HTTP port (perdurectl asks):
 *
 *   /admin/matching/queues    its partitions of task queues; of one queue, with pollers and priorities, when ?name=
 * (and namespace_id=, pollers=workflow|activity) is given
 */
#ifndef SERVICES_MATCHING_ADMIN_ADMIN_H
#define SERVICES_MATCHING_ADMIN_ADMIN_H

struct http_server;
struct matching;

/* *m is NULL until there is one (503); the slot outlives the server's requests. */
void matching_admin_serve(struct matching *const *m, struct http_server *http);

#endif
