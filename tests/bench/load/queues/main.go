// Queues loads task queues with raw gRPC calls, in one of several ways (-mode), and prints one JSON object:
//
//	start  so many workflows are started on a queue
//	drain  pollers complete so many first workflow tasks; says how far these were out of order
//	probe  workflows one at a time on a queue of their own: how long from start to the worker
//	polls  so many polls are opened and held until standard input ends
//	flow   so many workflows are kept going for a while: tasks a second
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	command "go.temporal.io/api/command/v1"
	common "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	taskqueue "go.temporal.io/api/taskqueue/v1"
	service "go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
)

const namespace = "default"

type client = service.WorkflowServiceClient

type options struct {
	mode, queue                      string
	total, flight, pollers, queues   int
	connections                      int
	seconds, warmup                  time.Duration
	starters, workers                []client
	errors, started, tasks, finished atomic.Int64
	last                             atomic.Value
}

func connect(addresses string, each int) []client {
	var list []client
	for i := 0; i < each; i++ {
		for _, address := range strings.Split(addresses, ",") {
			conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			list = append(list, service.NewWorkflowServiceClient(conn))
		}
	}
	return list
}

func (o *options) failed(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		o.errors.Add(1)
		o.last.Store(what + ": " + err.Error())
		time.Sleep(10 * time.Millisecond)
	}
}

func named(queue string) *taskqueue.TaskQueue { return &taskqueue.TaskQueue{Name: queue} }

func (o *options) start(ctx context.Context, c client, queue, id string) error {
	_, err := c.StartWorkflowExecution(ctx, &service.StartWorkflowExecutionRequest{Namespace: namespace, WorkflowId: id,
		WorkflowType: &common.WorkflowType{Name: "queues"}, TaskQueue: named(queue), RequestId: id, Identity: "queues"})
	return err
}

func (o *options) pollWorkflow(ctx context.Context, c client, queue string) *service.PollWorkflowTaskQueueResponse {
	limited, cancel := context.WithTimeout(ctx, 70*time.Second)
	defer cancel()
	task, err := c.PollWorkflowTaskQueue(limited, &service.PollWorkflowTaskQueueRequest{
		Namespace: namespace, TaskQueue: named(queue), Identity: "queues"})
	if err != nil {
		o.failed(ctx, "workflow poll", err)
		return nil
	}
	if len(task.TaskToken) == 0 {
		return nil
	}
	return task
}

func (o *options) answer(ctx context.Context, c client, token []byte, commands ...*command.Command) {
	_, err := c.RespondWorkflowTaskCompleted(ctx, &service.RespondWorkflowTaskCompletedRequest{
		Namespace: namespace, TaskToken: token, Identity: "queues", Commands: commands})
	if err != nil {
		o.failed(ctx, "workflow task", err)
	}
}

func complete() *command.Command {
	return &command.Command{CommandType: enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
		Attributes: &command.Command_CompleteWorkflowExecutionCommandAttributes{
			CompleteWorkflowExecutionCommandAttributes: &command.CompleteWorkflowExecutionCommandAttributes{}}}
}

func schedule(queue string) *command.Command {
	return &command.Command{CommandType: enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
		Attributes: &command.Command_ScheduleActivityTaskCommandAttributes{
			ScheduleActivityTaskCommandAttributes: &command.ScheduleActivityTaskCommandAttributes{
				ActivityId: "1", ActivityType: &common.ActivityType{Name: "step"}, TaskQueue: named(queue),
				StartToCloseTimeout: durationpb.New(time.Minute)}}}
}

// each runs n copies and waits for all.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := 0; i < n; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			do(i)
		}()
	}
	wg.Wait()
}

func quantiles(took []time.Duration, out map[string]any) {
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	for name, q := range map[string]float64{"p50_ms": .5, "p99_ms": .99, "max_ms": 1} {
		if len(took) > 0 {
			out[name] = float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
		}
	}
}

func (o *options) modeStart(ctx context.Context) map[string]any {
	var next atomic.Int64
	began := time.Now()
	each(o.flight, func(i int) {
		c := o.starters[i%len(o.starters)]
		for n := next.Add(1); n <= int64(o.total); n = next.Add(1) {
			if err := o.start(ctx, c, o.queue, fmt.Sprintf("%s-%d", o.queue, n)); err != nil {
				o.failed(ctx, "start", err)
			} else {
				o.started.Add(1)
			}
		}
	})
	return map[string]any{"started": o.started.Load(), "seconds": time.Since(began).Seconds()}
}

// How late a task is: by how much the newest one before it is younger.
func (o *options) modeDrain(ctx context.Context) map[string]any {
	ctx, cancel := context.WithCancel(ctx)
	var mu sync.Mutex
	var newest time.Time
	var late []time.Duration
	began := time.Now()
	each(o.pollers, func(i int) {
		c := o.workers[i%len(o.workers)]
		for ctx.Err() == nil {
			task := o.pollWorkflow(ctx, c, o.queue)
			if task == nil {
				continue
			}
			at := task.ScheduledTime.AsTime()
			mu.Lock()
			late = append(late, max(0, newest.Sub(at)))
			if at.After(newest) {
				newest = at
			}
			mu.Unlock()
			o.answer(ctx, c, task.TaskToken, complete())
			if o.finished.Add(1) >= int64(o.total) {
				cancel()
			}
		}
	})
	out := map[string]any{"finished": o.finished.Load(), "seconds": time.Since(began).Seconds()}
	order := map[string]any{}
	quantiles(late, order)
	out["out_of_order"] = order
	return out
}

func (o *options) modeProbe(ctx context.Context) map[string]any {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	arrived := make(chan time.Time, 100)
	for i := 0; i < 2; i++ {
		go func() {
			for ctx.Err() == nil {
				if task := o.pollWorkflow(ctx, o.workers[i%len(o.workers)], o.queue); task != nil {
					arrived <- time.Now()
					o.answer(ctx, o.workers[i%len(o.workers)], task.TaskToken, complete())
				}
			}
		}()
	}
	time.Sleep(200 * time.Millisecond)
	var took []time.Duration
	for n := 0; n < o.total; n++ {
		t := time.Now()
		if err := o.start(ctx, o.starters[0], o.queue, fmt.Sprintf("%s-%d", o.queue, n)); err != nil {
			o.failed(ctx, "start", err)
			continue
		}
		took = append(took, (<-arrived).Sub(t))
		time.Sleep(5 * time.Millisecond)
	}
	out := map[string]any{}
	quantiles(took, out)
	return out
}

func (o *options) modePolls(ctx context.Context) map[string]any {
	var done, clean atomic.Int64
	for i := 0; i < o.pollers; i++ {
		go func() {
			queue := fmt.Sprintf("%s-%d", o.queue, i%o.queues)
			limited, cancel := context.WithTimeout(ctx, 10*time.Minute)
			defer cancel()
			_, err := o.workers[i%len(o.workers)].PollWorkflowTaskQueue(limited, &service.PollWorkflowTaskQueueRequest{
				Namespace: namespace, TaskQueue: named(queue), Identity: fmt.Sprint("queues-", i%50)})
			done.Add(1)
			if err == nil {
				clean.Add(1)
			} else {
				o.failed(ctx, "poll", err)
			}
		}()
		if i%200 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	fmt.Println("open")
	io.ReadAll(os.Stdin)
	return map[string]any{"ended": done.Load(), "ended_cleanly": clean.Load()}
}

func (o *options) workflowWorker(ctx context.Context, c client, queue string) {
	for ctx.Err() == nil {
		task := o.pollWorkflow(ctx, c, queue)
		if task == nil {
			continue
		}
		o.tasks.Add(1)
		if task.PreviousStartedEventId == 0 {
			o.answer(ctx, c, task.TaskToken, schedule(queue))
			continue
		}
		o.answer(ctx, c, task.TaskToken, complete())
		id := fmt.Sprintf("%s-%d", queue, o.started.Add(1))
		if err := o.start(ctx, o.starters[0], queue, id); err != nil {
			o.failed(ctx, "start", err)
		}
	}
}

func (o *options) activityWorker(ctx context.Context, c client, queue string) {
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, 70*time.Second)
		task, err := c.PollActivityTaskQueue(limited, &service.PollActivityTaskQueueRequest{
			Namespace: namespace, TaskQueue: named(queue), Identity: "queues"})
		cancel()
		if err != nil {
			o.failed(ctx, "activity poll", err)
			continue
		}
		if len(task.TaskToken) == 0 {
			continue
		}
		o.tasks.Add(1)
		if _, err := c.RespondActivityTaskCompleted(ctx, &service.RespondActivityTaskCompletedRequest{
			Namespace: namespace, TaskToken: task.TaskToken, Identity: "queues"}); err != nil {
			o.failed(ctx, "activity", err)
		}
	}
}

func (o *options) modeFlow(ctx context.Context) map[string]any {
	ctx, cancel := context.WithCancel(ctx)
	for i := 0; i < o.pollers; i++ {
		queue := fmt.Sprintf("%s-%d", o.queue, i%o.queues)
		go o.workflowWorker(ctx, o.workers[i%len(o.workers)], queue)
		go o.activityWorker(ctx, o.workers[(i+1)%len(o.workers)], queue)
	}
	each(o.flight, func(i int) {
		queue := fmt.Sprintf("%s-%d", o.queue, i%o.queues)
		if err := o.start(ctx, o.starters[i%len(o.starters)], queue, fmt.Sprintf("%s-%d", queue, o.started.Add(1))); err != nil {
			o.failed(ctx, "start", err)
		}
	})
	time.Sleep(o.warmup)
	before := o.tasks.Load()
	began := time.Now()
	time.Sleep(o.seconds)
	rate := float64(o.tasks.Load()-before) / time.Since(began).Seconds()
	cancel()
	return map[string]any{"tasks_per_second": rate}
}

func main() {
	o := &options{}
	var target, polls string
	flag.StringVar(&o.mode, "mode", "start", "start, drain, probe, polls or flow")
	flag.StringVar(&target, "target", "127.0.0.1:7233", "where workflows are started")
	flag.StringVar(&polls, "polls", "127.0.0.1:7234", "where workers poll, separated by commas")
	flag.StringVar(&o.queue, "queue", fmt.Sprintf("q%d", time.Now().UnixNano()), "task queue, or the prefix of several")
	flag.IntVar(&o.queues, "queues", 1, "task queues (polls, flow)")
	flag.IntVar(&o.total, "total", 1000, "workflows")
	flag.IntVar(&o.flight, "in-flight", 100, "workflows at a time")
	flag.IntVar(&o.pollers, "pollers", 50, "polls (flow: of each kind)")
	flag.IntVar(&o.connections, "connections", 4, "connections to each address")
	flag.DurationVar(&o.seconds, "seconds", 10*time.Second, "how long (flow)")
	flag.DurationVar(&o.warmup, "warmup", 10*time.Second, "before it counts (flow)")
	flag.Parse()
	o.starters, o.workers = connect(target, o.connections), connect(polls, o.connections)
	modes := map[string]func(context.Context) map[string]any{
		"start": o.modeStart, "drain": o.modeDrain, "probe": o.modeProbe, "polls": o.modePolls, "flow": o.modeFlow}
	out := modes[o.mode](context.Background())
	out["errors"] = o.errors.Load()
	if last := o.last.Load(); last != nil {
		out["last_error"] = last
	}
	json.NewEncoder(os.Stdout).Encode(out)
}
