/*
 * The loop: libuv behind `struct env`.
 *
 * A turn: poll and its callbacks, then the env's due timers and ready tasks (uv_check), then whatever others hang on
 * uv_prepare (the gRPC server writes its answers there: once a turn), last our own prepare, which arms the timer for
 * the wait that follows. libuv runs prepare and check handles in reverse order of their start, and ours are started
 * first, so they run last.
 *
 * Timers use a timerfd instead of uv_timer: nanoseconds instead of milliseconds, and CLOCK_BOOTTIME, so that what
 * came due while the machine slept fires when it wakes.
 */
#include "common/loop/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "common/mem/mem.h"

/* How often tasks that tasks defer may run before the sockets get their turn. */
#define ROUNDS_PER_TURN_MAX 4
#define RANDOM_BYTES	    4096

struct loop_signal {
	uv_signal_t handle;
	void (*fn)(void *ctx, int signum);
	void *ctx;
	struct loop_signal *next;
};

struct loop {
	struct env env;
	uv_loop_t uv;
	uv_async_t async;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* active while tasks are ready: makes the poll not wait */
	uv_poll_t timer;
	int timer_fd;
	int64_t timer_due_ns;		   /* what the timerfd is set to; INT64_MAX: nothing */
	_Atomic(struct env_task *) posted; /* by other threads; newest first */
	atomic_bool stop;
	struct loop_signal *signals;
	uint8_t random[RANDOM_BYTES];
	size_t random_left;
};

struct loop_poll {
	uv_poll_t handle;
	loop_poll_fn *fn;
	void *ctx;
	int events;
};

static struct loop *loop_of(struct env *e)
{
	return container_of(e, struct loop, env);
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;
	int rc = clock_gettime(clock, &ts);
	assert(rc == 0);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int64_t wall_ns(struct env *e)
{
	(void)e;
	return clock_ns(CLOCK_REALTIME);
}

static int64_t mono_ns(struct env *e)
{
	(void)e;
	return clock_ns(CLOCK_BOOTTIME);
}

static void random_fill(uint8_t *out, size_t len)
{
	while (len > 0) {
		ssize_t n = getrandom(out, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			perror("getrandom");
			abort();
		}
		out += n;
		len -= (size_t)n;
	}
}

/* Buffered: a system call an id would be a tenth of the cost of a small request. */
static void random_bytes(struct env *e, void *out, size_t len)
{
	struct loop *l = loop_of(e);
	if (len > sizeof l->random) {
		random_fill(out, len);
		return;
	}
	if (l->random_left < len) {
		random_fill(l->random, sizeof l->random);
		l->random_left = sizeof l->random;
	}
	uint8_t *from = l->random + sizeof l->random - l->random_left;
	memcpy(out, from, len);
	memset(from, 0, len);
	l->random_left -= len;
}

static void on_idle(uv_idle_t *h)
{
	(void)h;
}

/* Timers need nothing here: on_prepare arms the nearest just before the loop waits. */
static void wake_at(struct env *e, int64_t due_ns)
{
	struct loop *l = loop_of(e);
	if (due_ns == 0)
		uv_idle_start(&l->idle, on_idle);
}

static void post(struct env *e, struct env_task *t)
{
	struct loop *l = loop_of(e);
	struct env_task *head = atomic_load_explicit(&l->posted, memory_order_relaxed);
	do {
		t->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&l->posted, &head, t, memory_order_release,
							memory_order_relaxed));
	/* Whoever found the list empty wakes the loop; the others' tasks are seen with it. */
	if (!head)
		uv_async_send(&l->async);
}

static const struct env_ops ops = {
	.wall_ns = wall_ns, .mono_ns = mono_ns, .random = random_bytes, .wake_at = wake_at, .post = post};

static void take_posted(struct loop *l)
{
	struct env_task *t = atomic_exchange_explicit(&l->posted, NULL, memory_order_acquire);
	struct env_task *in_order = NULL;
	while (t) {
		struct env_task *next = t->next;
		t->next = in_order;
		in_order = t;
		t = next;
	}
	while (in_order) {
		struct env_task *next = in_order->next;
		env_defer(&l->env, in_order);
		in_order = next;
	}
}

static void on_async(uv_async_t *h)
{
	struct loop *l = h->data;
	take_posted(l);
	/* From here on nothing of ours keeps uv_run() going: it returns when the owners' handles are closed. */
	if (atomic_load(&l->stop))
		uv_unref((uv_handle_t *)&l->async);
}

static void timer_set(struct loop *l, int64_t due_ns)
{
	struct itimerspec at = {.it_value = {.tv_sec = due_ns / NS_PER_S, .tv_nsec = due_ns % NS_PER_S}};
	int rc = timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
	assert(rc == 0);
	l->timer_due_ns = due_ns;
}

static void on_timer(uv_poll_t *h, int status, int events)
{
	(void)status;
	(void)events;
	struct loop *l = h->data;
	uint64_t expirations;
	ssize_t n = read(l->timer_fd, &expirations, sizeof expirations);
	(void)n; /* EAGAIN when it was set again since; the due timers run in on_check either way */
	l->timer_due_ns = INT64_MAX;
}

static void on_check(uv_check_t *h)
{
	struct loop *l = h->data;
	bool more = true;
	for (int i = 0; more && i < ROUNDS_PER_TURN_MAX; i++)
		more = env_run(&l->env);
	if (more)
		uv_idle_start(&l->idle, on_idle);
	else
		uv_idle_stop(&l->idle);
}

/*
 * Only an earlier due time is told to the kernel. A later one (most timers are timeouts that never fire) costs nothing
 * but a needless wake-up at the old time.
 */
static void on_prepare(uv_prepare_t *h)
{
	struct loop *l = h->data;
	int64_t due_ns = env_next_due(&l->env);
	if (due_ns == 0)
		uv_idle_start(&l->idle, on_idle);
	else if (due_ns < l->timer_due_ns)
		timer_set(l, due_ns);
}

static void handle_init(struct loop *l, void *handle, int rc)
{
	assert(rc == 0);
	uv_handle_set_data(handle, l);
	uv_unref(handle);
}

struct loop *loop_new(void)
{
	struct loop *l = new0(struct loop);
	/* A peer that hangs up while we write is an error code, not the end of the process. */
	signal(SIGPIPE, SIG_IGN);
	env_init(&l->env, &ops);
	int rc = uv_loop_init(&l->uv);
	assert(rc == 0);
	l->timer_due_ns = INT64_MAX;
	l->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	assert(l->timer_fd >= 0);
	handle_init(l, &l->prepare, uv_prepare_init(&l->uv, &l->prepare));
	handle_init(l, &l->check, uv_check_init(&l->uv, &l->check));
	handle_init(l, &l->idle, uv_idle_init(&l->uv, &l->idle));
	handle_init(l, &l->timer, uv_poll_init(&l->uv, &l->timer, l->timer_fd));
	handle_init(l, &l->async, uv_async_init(&l->uv, &l->async, on_async));
	uv_ref((uv_handle_t *)&l->async);
	uv_ref((uv_handle_t *)&l->idle); /* the loop doesn't end while tasks are ready */
	uv_prepare_start(&l->prepare, on_prepare);
	uv_check_start(&l->check, on_check);
	uv_poll_start(&l->timer, UV_READABLE, on_timer);
	return l;
}

struct env *loop_env(struct loop *l)
{
	return &l->env;
}

uv_loop_t *loop_uv(struct loop *l)
{
	return &l->uv;
}

void loop_run(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	uv_async_send(&l->async);
}

static void on_signal_closed(uv_handle_t *h)
{
	free(container_of((uv_signal_t *)h, struct loop_signal, handle));
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->signals) {
		struct loop_signal *s = l->signals;
		l->signals = s->next;
		uv_close((uv_handle_t *)&s->handle, on_signal_closed);
	}
	uv_close((uv_handle_t *)&l->prepare, NULL);
	uv_close((uv_handle_t *)&l->check, NULL);
	uv_close((uv_handle_t *)&l->idle, NULL);
	uv_close((uv_handle_t *)&l->timer, NULL);
	uv_close((uv_handle_t *)&l->async, NULL);
	while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0)
		;
	int rc = uv_loop_close(&l->uv);
	assert(rc == 0 && "a handle outlived its loop");
	close(l->timer_fd);
	heap_done(&l->env.timers);
	free(l);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct loop_poll *p = h->data;
	/* An error is found by whoever reads or writes next: let the library do that. libuv has stopped watching, but
	 * the library may have to read more than once until it finds the end. */
	if (status < 0) {
		uv_poll_start(h, p->events, on_poll);
		p->fn(p->ctx, true, true);
	} else
		p->fn(p->ctx, events & UV_READABLE, events & UV_WRITABLE);
}

struct loop_poll *loop_poll_new(struct loop *l, int fd, loop_poll_fn *fn, void *ctx)
{
	struct loop_poll *p = new0(struct loop_poll);
	p->fn = fn;
	p->ctx = ctx;
	int rc = uv_poll_init(&l->uv, &p->handle, fd);
	assert(rc == 0);
	p->handle.data = p;
	return p;
}

void loop_poll_set(struct loop_poll *p, bool read, bool write)
{
	int events = (read ? UV_READABLE : 0) | (write ? UV_WRITABLE : 0);
	if (events == p->events)
		return;
	p->events = events;
	if (events)
		uv_poll_start(&p->handle, events, on_poll);
	else
		uv_poll_stop(&p->handle);
}

static void on_poll_closed(uv_handle_t *h)
{
	free(container_of((uv_poll_t *)h, struct loop_poll, handle));
}

void loop_poll_free(struct loop_poll *p)
{
	if (!p)
		return;
	uv_poll_stop(&p->handle);
	uv_close((uv_handle_t *)&p->handle, on_poll_closed);
}

static void on_signal(uv_signal_t *h, int signum)
{
	struct loop_signal *s = h->data;
	s->fn(s->ctx, signum);
}

void loop_on_signal(struct loop *l, int signum, void (*fn)(void *ctx, int signum), void *ctx)
{
	struct loop_signal *s = new0(struct loop_signal);
	s->fn = fn;
	s->ctx = ctx;
	s->next = l->signals;
	l->signals = s;
	int rc = uv_signal_init(&l->uv, &s->handle);
	assert(rc == 0);
	s->handle.data = s;
	rc = uv_signal_start(&s->handle, on_signal, signum);
	assert(rc == 0);
	uv_unref((uv_handle_t *)&s->handle);
}
