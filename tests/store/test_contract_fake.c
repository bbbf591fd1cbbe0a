/* The contract suite on the store in memory. */
#include <stdlib.h>

#include "tests/store/world.h"

const struct world_ops *world_ops_chosen = &world_fake;

int main(void)
{
	Suite *s = suite_create("store contract: memory");
	suite_add_tcase(s, contract_nodes());
	suite_add_tcase(s, contract_shards());
	suite_add_tcase(s, contract_runs());
	suite_add_tcase(s, contract_closed());
	suite_add_tcase(s, contract_namespaces());
	suite_add_tcase(s, contract_purge());
	suite_add_tcase(s, contract_tasks());
	suite_add_tcase(s, contract_settings());
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
