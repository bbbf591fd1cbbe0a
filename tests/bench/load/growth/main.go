// Growth keeps a server busy at a steady rate for a long time, with raw gRPC calls, and prints a JSON line a second with what
// it has done since the start and how long the starts and reads of the last second took:
//
//	workflows with one activity, so many a second
//	workflows that sleep
//	workflows that take signals, each many, one after the other
//	workflows that nobody works on, terminated or deleted while they are open or soon after
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	command "go.temporal.io/api/command/v1"
	common "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	history "go.temporal.io/api/history/v1"
	namespace "go.temporal.io/api/namespace/v1"
	taskqueue "go.temporal.io/api/taskqueue/v1"
	service "go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

type client = service.WorkflowServiceClient

type load struct {
	namespace            string
	rate, sleepers       float64
	signals, churn       float64
	listeners            int
	sleep, lasts         time.Duration
	starter, worker      []client
	ctx                  context.Context
	input                *common.Payloads
	queue                *taskqueue.TaskQueue
	began                time.Time
	started, completed   atomic.Int64
	signalled, churned   atomic.Int64
	slept, errors, late  atomic.Int64
	last                 atomic.Value
	mu                   sync.Mutex
	starts, reads        []time.Duration
	busy                 atomic.Int64
	listening            []string
	signalsEach, pollers int
}

func connect(address string, n int) []client {
	list := make([]client, n)
	for i := range list {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		list[i] = service.NewWorkflowServiceClient(conn)
	}
	return list
}

func (l *load) failed(what string, err error) {
	code := status.Code(err)
	if l.ctx.Err() == nil && code != codes.NotFound {
		l.errors.Add(1)
		l.last.Store(what + ": " + err.Error())
		time.Sleep(10 * time.Millisecond)
	}
}

// ---- the workflows: their type says what they do

func activity(queue *taskqueue.TaskQueue, input *common.Payloads) *command.Command {
	return &command.Command{CommandType: enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
		Attributes: &command.Command_ScheduleActivityTaskCommandAttributes{
			ScheduleActivityTaskCommandAttributes: &command.ScheduleActivityTaskCommandAttributes{
				ActivityId: "1", ActivityType: &common.ActivityType{Name: "step"}, TaskQueue: queue,
				Input: input, StartToCloseTimeout: durationpb.New(time.Minute)}}}
}

func timer(d time.Duration) *command.Command {
	return &command.Command{CommandType: enums.COMMAND_TYPE_START_TIMER,
		Attributes: &command.Command_StartTimerCommandAttributes{
			StartTimerCommandAttributes: &command.StartTimerCommandAttributes{
				TimerId: "sleep", StartToFireTimeout: durationpb.New(d)}}}
}

func complete(result *common.Payloads) *command.Command {
	return &command.Command{CommandType: enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
		Attributes: &command.Command_CompleteWorkflowExecutionCommandAttributes{
			CompleteWorkflowExecutionCommandAttributes: &command.CompleteWorkflowExecutionCommandAttributes{Result: result}}}
}

func count(events []*history.HistoryEvent, kind enums.EventType) (n int) {
	for _, e := range events {
		if e.EventType == kind {
			n++
		}
	}
	return n
}

func (l *load) decide(task *service.PollWorkflowTaskQueueResponse) *command.Command {
	events := task.History.Events
	switch task.WorkflowType.Name {
	case "sleeper":
		if count(events, enums.EVENT_TYPE_TIMER_FIRED) > 0 {
			l.slept.Add(1)
			return complete(nil)
		}
		if count(events, enums.EVENT_TYPE_TIMER_STARTED) == 0 {
			return timer(l.sleep)
		}
		return nil
	case "listener":
		if count(events, enums.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED) >= l.signalsEach {
			return complete(nil)
		}
		return nil
	}
	if count(events, enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED) == 0 {
		return activity(l.queue, l.input)
	}
	l.completed.Add(1)
	return complete(l.input)
}

func (l *load) workflowPoller(c client) {
	for l.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(l.ctx, 70*time.Second)
		task, err := c.PollWorkflowTaskQueue(ctx, &service.PollWorkflowTaskQueueRequest{Namespace: l.namespace, TaskQueue: l.queue, Identity: "growth"})
		cancel()
		if err != nil {
			l.failed("workflow poll", err)
			continue
		}
		if len(task.TaskToken) == 0 {
			continue
		}
		answer := &service.RespondWorkflowTaskCompletedRequest{Namespace: l.namespace, TaskToken: task.TaskToken, Identity: "growth"}
		if next := l.decide(task); next != nil {
			answer.Commands = append(answer.Commands, next)
		}
		if _, err := c.RespondWorkflowTaskCompleted(l.ctx, answer); err != nil {
			if !strings.Contains(err.Error(), "UnhandledCommand") { // a signal came before it ended: it gets another task
				l.failed("workflow task", err)
			}
		}
	}
}

func (l *load) activityPoller(c client) {
	for l.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(l.ctx, 70*time.Second)
		task, err := c.PollActivityTaskQueue(ctx, &service.PollActivityTaskQueueRequest{Namespace: l.namespace, TaskQueue: l.queue, Identity: "growth"})
		cancel()
		if err != nil {
			l.failed("activity poll", err)
			continue
		}
		if len(task.TaskToken) == 0 {
			continue
		}
		if _, err := c.RespondActivityTaskCompleted(l.ctx, &service.RespondActivityTaskCompletedRequest{
			Namespace: l.namespace, TaskToken: task.TaskToken, Result: l.input, Identity: "growth"}); err != nil {
			l.failed("activity", err)
		}
	}
}

// ---- the clients

func (l *load) note(list *[]time.Duration, took time.Duration) {
	l.mu.Lock()
	*list = append(*list, took)
	l.mu.Unlock()
}

func (l *load) start(c client, kind, id string, queue *taskqueue.TaskQueue) string {
	t := time.Now()
	r, err := c.StartWorkflowExecution(l.ctx, &service.StartWorkflowExecutionRequest{Namespace: l.namespace, WorkflowId: id,
		WorkflowType: &common.WorkflowType{Name: kind}, TaskQueue: queue, Input: l.input, RequestId: fmt.Sprint(id, time.Now().UnixNano()), Identity: "growth"})
	l.note(&l.starts, time.Since(t))
	if err != nil {
		l.failed("start", err)
		return ""
	}
	return r.RunId
}

// Reads a run that is likely to be cold, or gone.
func (l *load) read(c client, id string) {
	t := time.Now()
	_, err := c.DescribeWorkflowExecution(l.ctx, &service.DescribeWorkflowExecutionRequest{Namespace: l.namespace,
		Execution: &common.WorkflowExecution{WorkflowId: id}})
	l.note(&l.reads, time.Since(t))
	if err != nil {
		l.failed("describe", err)
	}
}

// paced calls do so often a second, each call on its own; when too many are under way it waits for none, and counts.
func (l *load) paced(perSecond float64, do func(n int)) {
	if perSecond <= 0 {
		return
	}
	gap := time.Duration(float64(time.Second) / perSecond)
	next := time.Now()
	for n := 0; l.ctx.Err() == nil; n++ {
		next = next.Add(gap)
		time.Sleep(time.Until(next))
		if l.busy.Load() > 500 {
			l.late.Add(1)
			continue
		}
		l.busy.Add(1)
		go func() {
			defer l.busy.Add(-1)
			do(n)
		}()
	}
}

func (l *load) pick(n int) client { return l.starter[n%len(l.starter)] }

func (l *load) stream(prefix string) {
	go l.paced(l.rate, func(n int) {
		l.start(l.pick(n), "step", fmt.Sprintf("%s-w-%d", prefix, n), l.queue)
		l.started.Add(1)
		if n%20 == 0 { // one of the minutes before
			l.read(l.pick(n), fmt.Sprintf("%s-w-%d", prefix, max(0, n-int(l.rate*float64(60+n%240)))))
		}
	})
	go l.paced(l.sleepers, func(n int) {
		l.start(l.pick(n), "sleeper", fmt.Sprintf("%s-s-%d", prefix, n), l.queue)
	})
	go l.paced(l.signals, func(n int) {
		k := n % l.listeners
		id := fmt.Sprintf("%s-l-%d", prefix, k)
		_, err := l.pick(n).SignalWorkflowExecution(l.ctx, &service.SignalWorkflowExecutionRequest{Namespace: l.namespace,
			WorkflowExecution: &common.WorkflowExecution{WorkflowId: id}, SignalName: "more", Input: l.input,
			RequestId: fmt.Sprint(id, n), Identity: "growth"})
		if status.Code(err) == codes.NotFound { // the first, or the one before has ended
			l.start(l.pick(n), "listener", id, l.queue)
		} else if err != nil {
			l.failed("signal", err)
		}
		l.signalled.Add(1)
	})
	go l.paced(l.churn, func(n int) { l.comeAndGo(l.pick(n), fmt.Sprintf("%s-c-%d", prefix, n), n) })
}

// A workflow that nobody works on: deleted while it is open, or terminated, or terminated and deleted.
func (l *load) comeAndGo(c client, id string, n int) {
	run := l.start(c, "churn", id, &taskqueue.TaskQueue{Name: "nobody"})
	if run == "" {
		return
	}
	time.Sleep(time.Duration(n%40) * 500 * time.Millisecond) // some are folded by then
	execution := &common.WorkflowExecution{WorkflowId: id, RunId: run}
	if n%3 > 0 {
		if _, err := c.TerminateWorkflowExecution(l.ctx, &service.TerminateWorkflowExecutionRequest{
			Namespace: l.namespace, WorkflowExecution: execution}); err != nil {
			l.failed("terminate", err)
		}
	}
	if n%3 < 2 {
		if _, err := c.DeleteWorkflowExecution(l.ctx, &service.DeleteWorkflowExecutionRequest{
			Namespace: l.namespace, WorkflowExecution: execution}); err != nil {
			l.failed("delete", err)
		}
	}
	l.churned.Add(1)
}

// ---- telling

func quantile(list []time.Duration, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sort.Slice(list, func(i, j int) bool { return list[i] < list[j] })
	return float64(list[int(q*float64(len(list)-1))].Microseconds()) / 1000
}

func (l *load) tell() {
	l.mu.Lock()
	starts, reads := l.starts, l.reads
	l.starts, l.reads = nil, nil
	l.mu.Unlock()
	out := map[string]any{"seconds": time.Since(l.began).Seconds(), "started": l.started.Load(), "completed": l.completed.Load(),
		"slept": l.slept.Load(), "signalled": l.signalled.Load(), "churned": l.churned.Load(), "errors": l.errors.Load(),
		"skipped": l.late.Load(), "start_p50_ms": quantile(starts, .5), "start_p99_ms": quantile(starts, .99),
		"start_max_ms": quantile(starts, 1), "read_p50_ms": quantile(reads, .5), "read_max_ms": quantile(reads, 1)}
	if last := l.last.Load(); last != nil {
		out["last_error"] = last
	}
	json.NewEncoder(os.Stdout).Encode(out)
}

// Makes the namespace, and waits until it can be used.
func (l *load) register(retention time.Duration) {
	c := l.starter[0]
	// Partitions are made as far ahead as the longest retention asks for, and wide where that is far.
	if _, err := c.UpdateNamespace(l.ctx, &service.UpdateNamespaceRequest{Namespace: "default",
		Config: &namespace.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(retention)}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, err := c.RegisterNamespace(l.ctx, &service.RegisterNamespaceRequest{Namespace: l.namespace,
		WorkflowExecutionRetentionPeriod: durationpb.New(retention)})
	for ; err == nil || status.Code(err) == codes.NotFound; time.Sleep(100 * time.Millisecond) {
		_, err = c.DescribeTaskQueue(l.ctx, &service.DescribeTaskQueueRequest{Namespace: l.namespace, TaskQueue: l.queue})
		if err == nil {
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	l := &load{began: time.Now()}
	var target, polls string
	flag.StringVar(&target, "target", "127.0.0.1:7233", "where workflows are started")
	flag.StringVar(&polls, "polls", "127.0.0.1:7234", "where workers poll")
	flag.StringVar(&l.namespace, "namespace", "default", "")
	flag.Float64Var(&l.rate, "rate", 120, "workflows with an activity, a second")
	flag.Float64Var(&l.sleepers, "sleepers", 3, "workflows that sleep, a second")
	flag.Float64Var(&l.signals, "signals", 10, "signals a second")
	flag.Float64Var(&l.churn, "churn", 3, "workflows that are terminated or deleted, a second")
	flag.IntVar(&l.listeners, "listeners", 100, "workflows that take signals")
	flag.IntVar(&l.signalsEach, "signals-each", 20, "signals that one takes before it ends")
	flag.IntVar(&l.pollers, "pollers", 20, "polls of each kind")
	flag.DurationVar(&l.sleep, "sleep", 3*time.Minute, "how long a sleeper sleeps")
	var retention time.Duration
	flag.DurationVar(&retention, "retention", 0, "make the namespace first, with this retention; 0: it is there")
	flag.DurationVar(&l.lasts, "for", time.Minute, "how long it lasts")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), l.lasts)
	defer cancel()
	l.ctx = ctx
	l.starter, l.worker = connect(target, 4), connect(polls, 4)
	l.queue = &taskqueue.TaskQueue{Name: "growth"}
	l.input = &common.Payloads{Payloads: []*common.Payload{{Metadata: map[string][]byte{"encoding": []byte("binary/plain")}, Data: make([]byte, 100)}}}
	if retention > 0 {
		l.register(retention)
	}
	for i := 0; i < l.pollers; i++ {
		go l.workflowPoller(l.worker[i%4])
		go l.activityPoller(l.worker[i%4])
	}
	l.stream(fmt.Sprintf("g%d", l.began.Unix()))
	for tick := time.NewTicker(time.Second); ctx.Err() == nil; <-tick.C {
		l.tell()
	}
	l.tell()
}
