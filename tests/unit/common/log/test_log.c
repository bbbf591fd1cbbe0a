/* Log lines: their form, what is escaped, levels, children, counted repeats, whole lines from many threads. */
#include <check.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log/log.h"

struct fixture {
	FILE *file;
	int64_t now_ns;
	struct log *log;
};

static int64_t fake_wall_ns(void *ctx)
{
	return ((struct fixture *)ctx)->now_ns;
}

static void open_log(struct fixture *f, enum log_format format, int repeats_max)
{
	f->file = tmpfile();
	f->now_ns = 1700000000 * NS_PER_S + 123456789;
	const struct log_config config = {.fd = fileno(f->file),
					  .level = LOG_LEVEL_INFO,
					  .format = format,
					  .repeats_max = repeats_max,
					  .wall_ns = fake_wall_ns,
					  .ctx = f};
	f->log = log_new(&config);
}

/* The lines written so far; static. */
static const char *written(struct fixture *f)
{
	static char text[65536];
	ssize_t n = pread(fileno(f->file), text, sizeof text - 1, 0);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	return text;
}

static void close_log(struct fixture *f)
{
	log_free(f->log);
	fclose(f->file);
}

START_TEST(a_line_is_a_json_object)
{
	struct fixture f;
	open_log(&f, LOG_FORMAT_JSON, 0);
	log_info(f.log, "shard claimed", log_int("shard", 3), log_str("workflow_id", "order-7"),
		 log_str("run_id", NULL), log_bool("cold", true), log_duration("took", 1500 * NS_PER_US));
	ck_assert_str_eq(written(&f),
			 "{\"time\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"info\",\"msg\":\"shard "
			 "claimed\",\"shard\":3,\"workflow_id\":\"order-7\",\"cold\":true,\"took\":0.001500}\n");
	close_log(&f);
}
END_TEST

START_TEST(a_terminal_gets_key_and_value)
{
	struct fixture f;
	open_log(&f, LOG_FORMAT_TEXT, 0);
	log_warn(f.log, "slow commit", log_str("id", "a b"), log_str("queue", "q"), log_int("n", -1));
	ck_assert_str_eq(written(&f), "2023-11-14T22:13:20.123Z WARN  slow commit id=\"a b\" queue=q n=-1\n");
	close_log(&f);
}
END_TEST

START_TEST(hostile_bytes_stay_one_line_of_json)
{
	struct fixture f;
	open_log(&f, LOG_FORMAT_JSON, 0);
	log_error(f.log, "bad id", log_str("id", "a\"b\\c\nd\x01\x7f\xff\xc3\xa4\xed\xa0\x80\xe2\x82"));
	const char *text = written(&f);
	ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
	json_error_t error;
	json_t *line = json_loads(text, 0, &error);
	ck_assert_msg(line, "%s: %s", error.text, text);
	ck_assert_str_eq(
		json_string_value(json_object_get(line, "id")),
		"a\"b\\c\nd\x01\x7f\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	json_decref(line);
	close_log(&f);
}
END_TEST

START_TEST(errors_come_with_their_code)
{
	struct fixture f;
	open_log(&f, LOG_FORMAT_TEXT, 0);
	log_error(f.log, "cannot start", log_err(err_static(ERR_NOT_FOUND, "no such thing")), LOG_END);
	ck_assert_ptr_nonnull(strstr(written(&f), "error=\"no such thing\" code=NOT_FOUND\n"));
	close_log(&f);
}
END_TEST

static int evaluated;

static int64_t evaluate(void)
{
	return ++evaluated;
}

START_TEST(fields_below_the_level_are_not_made)
{
	struct fixture f;
	open_log(&f, LOG_FORMAT_JSON, 0);
	evaluated = 0;
	log_debug(f.log, "detail", log_int("n", evaluate()));
	ck_assert_int_eq(evaluated, 0);
	ck_assert_str_eq(written(&f), "");
	log_set_level(f.log, LOG_LEVEL_DEBUG);
	log_debug(f.log, "detail", log_int("n", evaluate()));
	ck_assert_int_eq(evaluated, 1);
	ck_assert_ptr_nonnull(strstr(written(&f), "\"level\":\"debug\""));
	close_log(&f);
	log_info(NULL, "nobody hears it", log_int("n", evaluate()));
	ck_assert_int_eq(evaluated, 1);
}
END_TEST

START_TEST(a_child_adds_its_fields)
{
	struct fixture f;
	open_log(&f, LOG_FORMAT_TEXT, 0);
	char role[] = "history";
	struct log *role_log = log_with(f.log, log_str("role", role), log_str("node", "n1"));
	struct log *shard_log = log_with(role_log, log_int("shard", 5));
	memset(role, 'x', sizeof role - 1);
	log_info(shard_log, "hello");
	log_info(f.log, "plain");
	ck_assert_ptr_nonnull(strstr(written(&f), "hello role=history node=n1 shard=5\n"));
	ck_assert_ptr_nonnull(strstr(written(&f), "plain\n"));
	log_free(shard_log);
	log_free(role_log);
	close_log(&f);
	ck_assert_ptr_null(log_with(NULL, log_int("shard", 1)));
}
END_TEST

static int count_of(const char *text, const char *what)
{
	int n = 0;
	for (const char *s = text; (s = strstr(s, what)); s++)
		n++;
	return n;
}

START_TEST(repeats_are_counted)
{
	struct fixture f;
	open_log(&f, LOG_FORMAT_TEXT, 2);
	for (int i = 0; i < 10; i++)
		log_info(f.log, "again", log_int("i", i));
	log_info(f.log, "something else");
	ck_assert_int_eq(count_of(written(&f), "again"), 2);
	ck_assert_int_eq(count_of(written(&f), "something else"), 1);
	log_tick(f.log); /* the second is not over */
	ck_assert_int_eq(count_of(written(&f), "again"), 2);
	f.now_ns += NS_PER_S;
	log_tick(f.log);
	ck_assert_int_eq(count_of(written(&f), "again repeated=8\n"), 1);
	log_info(f.log, "again", log_int("i", 11));
	ck_assert_int_eq(count_of(written(&f), "again i=11\n"), 1);
	close_log(&f);
}
END_TEST

START_TEST(what_is_still_counted_is_written_at_the_end)
{
	struct fixture f;
	open_log(&f, LOG_FORMAT_TEXT, 1);
	for (int i = 0; i < 5; i++)
		log_info(f.log, "again");
	int fd = dup(fileno(f.file));
	FILE *kept = fdopen(fd, "r");
	close_log(&f);
	f.file = kept;
	ck_assert_int_eq(count_of(written(&f), "again repeated=4\n"), 1);
	fclose(kept);
}
END_TEST

static void *write_many(void *ctx)
{
	for (int i = 0; i < 200; i++)
		log_info(ctx, "from a thread", log_str("text", "0123456789012345678901234567890123456789"));
	return NULL;
}

START_TEST(lines_of_many_threads_stay_whole)
{
	struct fixture f;
	open_log(&f, LOG_FORMAT_TEXT, 1000000);
	/* Whole lines need a descriptor in append mode, as a log file or a pipe is. */
	fcntl(fileno(f.file), F_SETFL, O_APPEND);
	pthread_t threads[3];
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_create(&threads[i], NULL, write_many, f.log);
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(count_of(written(&f), "INFO  from a thread text=0123456789012345678901234567890123456789\n"),
			 600);
	close_log(&f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/log");
	TCase *tests = tcase_create("log");
	tcase_add_test(tests, a_line_is_a_json_object);
	tcase_add_test(tests, a_terminal_gets_key_and_value);
	tcase_add_test(tests, hostile_bytes_stay_one_line_of_json);
	tcase_add_test(tests, errors_come_with_their_code);
	tcase_add_test(tests, fields_below_the_level_are_not_made);
	tcase_add_test(tests, a_child_adds_its_fields);
	tcase_add_test(tests, repeats_are_counted);
	tcase_add_test(tests, what_is_still_counted_is_written_at_the_end);
	tcase_add_test(tests, lines_of_many_threads_stay_whole);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
