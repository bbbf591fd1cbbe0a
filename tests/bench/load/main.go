// Load drives a server that speaks the workflow service with raw gRPC calls: starters, workflow pollers and activity
// pollers in one process, light enough that what is measured is the server. It prints one JSON object.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	command "go.temporal.io/api/command/v1"
	common "go.temporal.io/api/common/v1"
	enums "go.temporal.io/api/enums/v1"
	history "go.temporal.io/api/history/v1"
	taskqueue "go.temporal.io/api/taskqueue/v1"
	service "go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const namespace = "default"

type options struct {
	target, polls                 string
	total, flight, pollers, steps int
	timer                         time.Duration
}

type bench struct {
	options
	ctx     context.Context
	queue   *taskqueue.TaskQueue
	starter []service.WorkflowServiceClient
	worker  []service.WorkflowServiceClient
	input   *common.Payloads
	errors  atomic.Int64
	asleep  atomic.Int64 // workflows whose timer was started
	last    atomic.Value
}

func clients(address string, n int) []service.WorkflowServiceClient {
	list := make([]service.WorkflowServiceClient, n)
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

func (b *bench) failed(what string, err error) {
	if b.ctx.Err() != nil || status.Code(err) == codes.NotFound {
		return
	}
	b.errors.Add(1)
	b.last.Store(what + ": " + err.Error())
	time.Sleep(10 * time.Millisecond)
}

// decide is the workflow: so many activities one after the other, or a timer, then done.
func (b *bench) decide(events []*history.HistoryEvent) *command.Command {
	done, fired, timers := 0, 0, 0
	for _, e := range events {
		switch e.EventType {
		case enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			done++
		case enums.EVENT_TYPE_TIMER_STARTED:
			timers++
		case enums.EVENT_TYPE_TIMER_FIRED:
			fired++
		}
	}
	switch {
	case done < b.steps:
		return &command.Command{CommandType: enums.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
			Attributes: &command.Command_ScheduleActivityTaskCommandAttributes{
				ScheduleActivityTaskCommandAttributes: &command.ScheduleActivityTaskCommandAttributes{
					ActivityId: fmt.Sprint(done), ActivityType: &common.ActivityType{Name: "step"}, TaskQueue: b.queue,
					Input: b.input, StartToCloseTimeout: durationpb.New(time.Minute)}}}
	case b.timer > 0 && timers == 0:
		return &command.Command{CommandType: enums.COMMAND_TYPE_START_TIMER,
			Attributes: &command.Command_StartTimerCommandAttributes{
				StartTimerCommandAttributes: &command.StartTimerCommandAttributes{
					TimerId: "sleep", StartToFireTimeout: durationpb.New(b.timer)}}}
	case b.timer > 0 && fired == 0:
		return nil
	}
	return &command.Command{CommandType: enums.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
		Attributes: &command.Command_CompleteWorkflowExecutionCommandAttributes{
			CompleteWorkflowExecutionCommandAttributes: &command.CompleteWorkflowExecutionCommandAttributes{Result: b.input}}}
}

func (b *bench) workflowPoller(c service.WorkflowServiceClient) {
	for b.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(b.ctx, 70*time.Second)
		task, err := c.PollWorkflowTaskQueue(ctx, &service.PollWorkflowTaskQueueRequest{Namespace: namespace, TaskQueue: b.queue, Identity: "bench"})
		cancel()
		if err != nil {
			b.failed("workflow poll", err)
			continue
		}
		if len(task.TaskToken) == 0 {
			continue
		}
		answer := &service.RespondWorkflowTaskCompletedRequest{Namespace: namespace, TaskToken: task.TaskToken, Identity: "bench"}
		if next := b.decide(task.History.Events); next != nil {
			answer.Commands = append(answer.Commands, next)
		}
		if _, err := c.RespondWorkflowTaskCompleted(b.ctx, answer); err != nil {
			b.failed("workflow task", err)
		} else if len(answer.Commands) > 0 && answer.Commands[0].CommandType == enums.COMMAND_TYPE_START_TIMER {
			b.asleep.Add(1)
		}
	}
}

func (b *bench) activityPoller(c service.WorkflowServiceClient) {
	for b.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(b.ctx, 70*time.Second)
		task, err := c.PollActivityTaskQueue(ctx, &service.PollActivityTaskQueueRequest{Namespace: namespace, TaskQueue: b.queue, Identity: "bench"})
		cancel()
		if err != nil {
			b.failed("activity poll", err)
			continue
		}
		if len(task.TaskToken) == 0 {
			continue
		}
		if _, err := c.RespondActivityTaskCompleted(b.ctx, &service.RespondActivityTaskCompletedRequest{
			Namespace: namespace, TaskToken: task.TaskToken, Result: b.input, Identity: "bench"}); err != nil {
			b.failed("activity", err)
		}
	}
}

func (b *bench) start(c service.WorkflowServiceClient, id string) (*common.WorkflowExecution, error) {
	r, err := c.StartWorkflowExecution(b.ctx, &service.StartWorkflowExecutionRequest{Namespace: namespace, WorkflowId: id,
		WorkflowType: &common.WorkflowType{Name: "bench"}, TaskQueue: b.queue, Input: b.input, RequestId: id, Identity: "bench"})
	if err != nil {
		return nil, err
	}
	return &common.WorkflowExecution{WorkflowId: id, RunId: r.RunId}, nil
}

func (b *bench) wait(c service.WorkflowServiceClient, run *common.WorkflowExecution) error {
	var page []byte
	for {
		r, err := c.GetWorkflowExecutionHistory(b.ctx, &service.GetWorkflowExecutionHistoryRequest{Namespace: namespace, Execution: run,
			WaitNewEvent: true, HistoryEventFilterType: enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT, NextPageToken: page})
		if err != nil {
			return err
		}
		if n := len(r.History.Events); n > 0 {
			return nil
		}
		page = r.NextPageToken
	}
}

func (b *bench) run() map[string]any {
	var next, completed atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	began := time.Now()
	for i := 0; i < b.flight; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := b.starter[i%len(b.starter)]
			for n := next.Add(1); n <= int64(b.total); n = next.Add(1) {
				t := time.Now()
				run, err := b.start(c, fmt.Sprintf("%s-%d", b.queue.Name, n))
				if err == nil && b.timer < time.Minute {
					err = b.wait(c, run)
				}
				if err != nil {
					b.failed("start", err)
					continue
				}
				completed.Add(1)
				mu.Lock()
				took = append(took, time.Since(t))
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	for b.timer >= time.Minute && b.asleep.Load() < completed.Load() {
		time.Sleep(10 * time.Millisecond)
	}
	seconds := time.Since(began).Seconds()
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	at := func(q float64) float64 {
		if len(took) == 0 {
			return 0
		}
		return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
	}
	out := map[string]any{"completed": completed.Load(), "errors": b.errors.Load(), "seconds": seconds,
		"per_second": float64(completed.Load()) / seconds, "p50_ms": at(.5), "p99_ms": at(.99)}
	if last := b.last.Load(); last != nil {
		out["last_error"] = last
	}
	return out
}

func main() {
	var o options
	flag.StringVar(&o.target, "target", "127.0.0.1:7233", "where workflows are started")
	flag.StringVar(&o.polls, "polls", "", "where workers poll (default: target)")
	flag.IntVar(&o.total, "total", 2000, "workflows")
	flag.IntVar(&o.flight, "in-flight", 50, "workflows at a time")
	flag.IntVar(&o.pollers, "pollers", 20, "polls of each kind")
	flag.IntVar(&o.steps, "steps", 1, "activities a workflow")
	flag.DurationVar(&o.timer, "timer", 0, "a timer of each workflow; of a minute or more: it is not waited for")
	flag.Parse()
	if o.polls == "" {
		o.polls = o.target
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &bench{options: o, ctx: ctx, starter: clients(o.target, 4), worker: clients(o.polls, 4),
		queue: &taskqueue.TaskQueue{Name: fmt.Sprintf("bench-%d", time.Now().UnixNano())},
		input: &common.Payloads{Payloads: []*common.Payload{{Metadata: map[string][]byte{"encoding": []byte("binary/plain")}, Data: make([]byte, 100)}}}}
	for i := 0; i < o.pollers; i++ {
		go b.workflowPoller(b.worker[i%4])
		if o.steps > 0 {
			go b.activityPoller(b.worker[i%4])
		}
	}
	time.Sleep(300 * time.Millisecond)
	result := b.run()
	cancel()
	json.NewEncoder(os.Stdout).Encode(result)
	if result["completed"] != int64(o.total) {
		os.Exit(1)
	}
}
