/* Settings: values and their texts, the file, environment, flags, their order, and what each error says. */
#include <check.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/config/config.h"

static struct arena *arena;
static struct config *config;

static void setup(void)
{
	arena = arena_new(0);
	config = config_new();
}

static void teardown(void)
{
	config_free(config);
	arena_free(arena);
}

static struct err read_text(const char *text)
{
	return config_read_text(config, "perdure.yaml", bytes_str(text), arena);
}

static void expect_error(struct err e, const char *message)
{
	ck_assert(err_is(e));
	ck_assert_str_eq(e.message, message);
}

static void expect_ok(struct err e)
{
	ck_assert_msg(!err_is(e), "%s", e.message);
}

START_TEST(defaults_are_there)
{
	const struct settings *s = config_get(config);
	ck_assert_int_eq(s->cluster_shards, 64);
	ck_assert_int_eq(s->membership_lease, 3 * NS_PER_S);
	ck_assert_int_eq(s->history_cache_bytes, 256 * 1024 * 1024);
	ck_assert_str_eq(s->log_level, "info");
	ck_assert(!s->grpc_tls_client_required);
	ck_assert_int_eq(settings_defaults()->frontend_grpc_port, 7233);
	expect_ok(config_check(config, arena));
}
END_TEST

START_TEST(every_row_is_sound)
{
	size_t count;
	const struct setting *table = config_settings(&count);
	for (size_t i = 0; i < count; i++) {
		ck_assert_ptr_eq(config_find(table[i].name), &table[i]);
		size_t len = strlen(table[i].sentence);
		ck_assert_msg(len > 10 && table[i].sentence[len - 1] == '.', "%s: a sentence", table[i].name);
		ck_assert_int_eq(config_source(config, &table[i]), SETTING_FROM_DEFAULT);
	}
	ck_assert_ptr_null(config_find("history.nothing"));
}
END_TEST

START_TEST(durations)
{
	static const struct {
		const char *text;
		int64_t ns;
		const char *written;
	} cases[] = {
		{"3s", 3 * NS_PER_S, "3s"},	     {"500ms", 500 * NS_PER_MS, "500ms"},
		{"1m30s", 90 * NS_PER_S, "1m30s"},   {"72h", 72 * 3600 * NS_PER_S, "72h"},
		{"7d", 7 * 86400 * NS_PER_S, "7d"},  {"0", 0, "0s"},
		{"100us", 100 * NS_PER_US, "100us"}, {"1s1ns", NS_PER_S + 1, "1s1ns"},
	};
	for (size_t i = 0; i < array_len(cases); i++) {
		int64_t ns = -1;
		expect_ok(config_parse_duration(cases[i].text, &ns, arena));
		ck_assert_int_eq(ns, cases[i].ns);
		ck_assert_str_eq(config_format_duration(arena, ns), cases[i].written);
	}
	static const char *const bad[] = {"", "3", "s", "-3s", "3 s", "3x", "1s2", "99999999999999d", "1.5s"};
	for (size_t i = 0; i < array_len(bad); i++) {
		int64_t ns;
		ck_assert_msg(err_is(config_parse_duration(bad[i], &ns, arena)), "%s", bad[i]);
	}
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		const char *text;
		int64_t bytes;
		const char *written;
	} cases[] = {
		{"4096", 4096, "4KiB"}, {"64KiB", 65536, "64KiB"},   {"2GiB", 2LL << 30, "2GiB"},
		{"1000", 1000, "1000"}, {"1TiB", 1LL << 40, "1TiB"}, {"12B", 12, "12"},
		{"0", 0, "0"},
	};
	for (size_t i = 0; i < array_len(cases); i++) {
		int64_t bytes = -1;
		expect_ok(config_parse_bytes(cases[i].text, &bytes, arena));
		ck_assert_int_eq(bytes, cases[i].bytes);
		ck_assert_str_eq(config_format_bytes(arena, bytes), cases[i].written);
	}
	static const char *const bad[] = {"", "MiB", "-1", "1MB", "1 MiB", "1MiB2", "9999999999TiB"};
	for (size_t i = 0; i < array_len(bad); i++) {
		int64_t bytes;
		ck_assert_msg(err_is(config_parse_bytes(bad[i], &bytes, arena)), "%s", bad[i]);
	}
}
END_TEST

START_TEST(a_file_sets_what_it_names)
{
	expect_ok(read_text("# a comment\n"
			    "cluster: {shards: 512}\n"
			    "history:\n"
			    "  cache_bytes: 1GiB\n"
			    "  takeover_grace: 0\n"
			    "matching:\n"
			    "grpc:\n"
			    "  tls_client_required: true\n"
			    "database:\n"
			    "  dsn: \"host=/run user=x\"\n"));
	const struct settings *s = config_get(config);
	ck_assert_int_eq(s->cluster_shards, 512);
	ck_assert_int_eq(s->history_cache_bytes, 1LL << 30);
	ck_assert_int_eq(s->history_takeover_grace, 0);
	ck_assert(s->grpc_tls_client_required);
	ck_assert_str_eq(s->database_dsn, "host=/run user=x");
	ck_assert_int_eq(config_source(config, config_find("cluster.shards")), SETTING_FROM_FILE);
	ck_assert_int_eq(config_source(config, config_find("log.level")), SETTING_FROM_DEFAULT);
	expect_ok(read_text(""));
}
END_TEST

START_TEST(a_bad_file_says_where_and_what)
{
	expect_error(read_text("history:\n  cache_byte: 1GiB\n"),
		     "perdure.yaml:2: there is no setting history.cache_byte (did you mean history.cache_bytes?); "
		     "--print-config lists them");
	expect_error(read_text("\nhistroy:\n  x: 1\n"),
		     "perdure.yaml:2: there is no section histroy; --print-config lists them");
	expect_error(
		read_text("history:\n  cache_bytes: lots\n"),
		"perdure.yaml:2: history.cache_bytes: expected a size such as 4096, 64KiB, 256MiB, 2GiB, got \"lots\"");
	expect_error(read_text("frontend:\n\n  grpc_port: 70000\n"),
		     "perdure.yaml:3: frontend.grpc_port: expected 0 to 65535, got \"70000\"");
	expect_error(read_text("frontend:\n  grpc_port: http\n"),
		     "perdure.yaml:2: frontend.grpc_port: expected a number (port), got \"http\"");
	expect_error(read_text("membership: {lease: 1ms}\n"),
		     "perdure.yaml:1: membership.lease: expected 500ms to 1m, got \"1ms\"");
	expect_error(read_text("log: {level: loud}\n"),
		     "perdure.yaml:1: log.level: expected one of debug|info|warn|error, got \"loud\"");
	expect_error(read_text("grpc: {tls_client_required: yes}\n"),
		     "perdure.yaml:1: grpc.tls_client_required: expected true or false, got \"yes\"");
	expect_error(read_text("log:\n  level: info\n  level: warn\n"), "perdure.yaml:3: log.level is set twice");
	expect_error(read_text("log: [level]\n"), "perdure.yaml:1: log: expected settings below it, indented");
	expect_error(read_text("- log\n"), "perdure.yaml:1: expected sections with settings below them");
	expect_error(read_text("log:\n  level: [info]\n"), "perdure.yaml:2: log.level: expected a single value");
	struct err e = read_text("log:\n  level: \"info\n");
	ck_assert(err_is(e));
	ck_assert_msg(strncmp(e.message, "perdure.yaml:3: this is not YAML: ", 34) == 0, "%s", e.message);
	expect_error(config_read_file(config, "/nonexistent/perdure.yaml", arena),
		     "/nonexistent/perdure.yaml: No such file or directory");
}
END_TEST

START_TEST(the_environment_sets_too)
{
	char *const environ_[] = {"HOME=/root",
				  "PERDURE_WORKER_GATEWAY_GRPC_PORT=9000",
				  "PERDURE_LOG_LEVEL=debug",
				  "PERDURE_CONFIG=/etc/perdure.yaml",
				  "PERDURE_TEST_DSN=x",
				  "PERDURE_FRONTEND_SERVICE_HOST=10.0.0.1",
				  "PERDURE_FRONTEND_PORT=tcp://10.0.0.1:7233",
				  "PERDURE_FRONTEND_PORT_7233_TCP_ADDR=10.0.0.1",
				  NULL};
	expect_ok(config_read_environment(config, environ_, arena));
	ck_assert_int_eq(config_get(config)->worker_gateway_grpc_port, 9000);
	ck_assert_str_eq(config_get(config)->log_level, "debug");
	ck_assert_int_eq(config_source(config, config_find("log.level")), SETTING_FROM_ENVIRONMENT);

	char *const unknown[] = {"PERDURE_DATABASE_DNS=x", NULL};
	expect_error(config_read_environment(config, unknown, arena),
		     "PERDURE_DATABASE_DNS: no setting has this environment variable; --print-config lists them");
	char *const bad[] = {"PERDURE_LOG_LEVEL=loud", NULL};
	expect_error(config_read_environment(config, bad, arena),
		     "PERDURE_LOG_LEVEL: log.level: expected one of debug|info|warn|error, got \"loud\"");
}
END_TEST

static struct err load(char **argv, char *const *environ_, struct config_args *args)
{
	int argc = 0;
	while (argv[argc])
		argc++;
	return config_load(config, argc, argv, environ_, args, arena);
}

START_TEST(flags_win_over_environment_over_file)
{
	char path[] = "/tmp/test_config_XXXXXX";
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");
	fprintf(f, "log: {level: warn, format: text}\ncluster: {name: from-file, shards: 7}\n");
	fclose(f);
	char *argv[] = {"perdure", "--config", path, "--log.level=error", "--print-config", NULL};
	char *const environ_[] = {"PERDURE_LOG_LEVEL=debug", "PERDURE_LOG_FORMAT=json", NULL};
	struct config_args args;
	expect_ok(load(argv, environ_, &args));
	ck_assert(args.print_config);
	ck_assert_str_eq(args.file, path);
	const struct settings *s = config_get(config);
	ck_assert_str_eq(s->log_level, "error");
	ck_assert_str_eq(s->log_format, "json");
	ck_assert_str_eq(s->cluster_name, "from-file");
	ck_assert_int_eq(s->cluster_shards, 7);
	unlink(path);
}
END_TEST

START_TEST(bad_flags_say_what_was_expected)
{
	struct config_args args;
	char *stray[] = {"perdure", "history", NULL};
	expect_error(load(stray, NULL, &args), "history: expected --config FILE, --section.key=value, --print-config, "
					       "--version or --help");
	char *unknown[] = {"perdure", "--log.levle=debug", NULL};
	expect_error(
		load(unknown, NULL, &args),
		"flag --log.levle: there is no setting log.levle (did you mean log.level?); --print-config lists them");
	char *bad[] = {"perdure", "--matching.partitions_max=0", NULL};
	expect_error(load(bad, NULL, &args),
		     "flag --matching.partitions_max: matching.partitions_max: expected 1 to 1024, got \"0\"");
	char *missing[] = {"perdure", "--config=/nonexistent.yaml", NULL};
	expect_error(load(missing, NULL, &args), "/nonexistent.yaml: No such file or directory");
	char *help[] = {"perdure", "--config=/nonexistent.yaml", "--help", NULL};
	expect_ok(load(help, NULL, &args));
	ck_assert(args.help);
}
END_TEST

START_TEST(settings_that_contradict_each_other_are_refused)
{
	struct config_args args;
	char *renew[] = {"perdure", "--membership.renew_interval=2s", NULL};
	expect_error(load(renew, NULL, &args),
		     "membership.renew_interval: expected at most a third of membership.lease");
	teardown();
	setup();
	char *tls[] = {"perdure", "--grpc.tls_key_file=/k", NULL};
	expect_error(load(tls, NULL, &args),
		     "grpc.tls_cert_file and grpc.tls_key_file go together: set both or neither");
}
END_TEST

START_TEST(the_printed_configuration_reads_back_the_same)
{
	expect_ok(config_set(config, "database.dsn", "user=\"q\" \\ x", SETTING_FROM_FLAG, "flag", arena));
	expect_ok(config_set(config, "history.lookahead", "90s", SETTING_FROM_FLAG, "flag", arena));
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	config_print(config, f);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "\nhistory:\n"));
	ck_assert_ptr_nonnull(strstr(text, "; set by a flag\n  lookahead: 1m30s\n"));
	ck_assert_ptr_nonnull(strstr(text, "  # default 64; 1 to 16384 shards\n  shards: 64\n"));

	struct config *again = config_new();
	expect_ok(config_read_text(again, "printed", bytes_of(text, len), arena));
	size_t count;
	const struct setting *table = config_settings(&count);
	for (size_t i = 0; i < count; i++)
		ck_assert_msg(config_source(again, &table[i]) == SETTING_FROM_FILE, "%s", table[i].name);
	ck_assert_str_eq(config_get(again)->database_dsn, "user=\"q\" \\ x");
	ck_assert_int_eq(config_get(again)->history_lookahead, 90 * NS_PER_S);
	config_free(again);
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/config");
	TCase *tests = tcase_create("config");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, defaults_are_there);
	tcase_add_test(tests, every_row_is_sound);
	tcase_add_test(tests, durations);
	tcase_add_test(tests, sizes);
	tcase_add_test(tests, a_file_sets_what_it_names);
	tcase_add_test(tests, a_bad_file_says_where_and_what);
	tcase_add_test(tests, the_environment_sets_too);
	tcase_add_test(tests, flags_win_over_environment_over_file);
	tcase_add_test(tests, bad_flags_say_what_was_expected);
	tcase_add_test(tests, settings_that_contradict_each_other_are_refused);
	tcase_add_test(tests, the_printed_configuration_reads_back_the_same);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
