/* The contract suite on PostgreSQL, and what only that can show. PERDURE_TEST_DSN names the server; argv[1]
 * deploy/schema. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/store/world_pg.h"

const struct world_ops *world_ops_chosen = &world_pg;

int main(int argc, char **argv)
{
	const char *dsn = getenv("PERDURE_TEST_DSN");
	if (!dsn || argc != 2) {
		fprintf(stderr, "usage: tests/support/postgres.py %s deploy/schema\n", argv[0]);
		return EXIT_FAILURE;
	}
	world_pg_prepare(dsn, argv[1]);
	Suite *s = suite_create("store contract: PostgreSQL");
	suite_add_tcase(s, contract_nodes());
	suite_add_tcase(s, contract_shards());
	suite_add_tcase(s, contract_runs());
	suite_add_tcase(s, contract_closed());
	suite_add_tcase(s, contract_namespaces());
	suite_add_tcase(s, contract_purge());
	suite_add_tcase(s, contract_tasks());
	suite_add_tcase(s, contract_settings());
	suite_add_tcase(s, postgres_fence());
	suite_add_tcase(s, postgres_partitions());
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
