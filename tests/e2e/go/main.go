// The end-to-end cases with the Go SDK. Usage: e2e ADDRESS NAMESPACE
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
)

const caseMax = 60 * time.Second

// run is what a case works with.
type run struct {
	client   client.Client
	queue    string
	handover *handover
}

func (r *run) start(ctx context.Context, kind any, args ...any) (client.WorkflowRun, error) {
	options := client.StartWorkflowOptions{ID: "go-" + uuid.NewString(), TaskQueue: r.queue}
	return r.client.ExecuteWorkflow(ctx, options, kind, args...)
}

func equal(actual, expected any) error {
	if !reflect.DeepEqual(actual, expected) {
		return fmt.Errorf("expected %v, got %v", expected, actual)
	}
	return nil
}

func caseHello(ctx context.Context, r *run) error {
	started, err := r.start(ctx, hello, "world")
	if err != nil {
		return err
	}
	var greeting string
	err = started.Get(ctx, &greeting)
	return errors.Join(err, equal(greeting, "Hello, world!"))
}

func caseRetries(ctx context.Context, r *run) error {
	started, err := r.start(ctx, retries)
	if err != nil {
		return err
	}
	var attempt int32
	err = started.Get(ctx, &attempt)
	return errors.Join(err, equal(attempt, int32(3)))
}

func (r *run) seen(ctx context.Context, started client.WorkflowRun, expected []string) error {
	value, err := r.client.QueryWorkflow(ctx, started.GetID(), started.GetRunID(), "seen")
	if err != nil {
		return err
	}
	var words []string
	err = value.Get(&words)
	return errors.Join(err, equal(words, expected))
}

func caseSignalAndQuery(ctx context.Context, r *run) error {
	started, err := r.start(ctx, signalAndQuery)
	if err != nil {
		return err
	}
	if err := r.seen(ctx, started, []string{}); err != nil {
		return err
	}
	if err := r.client.SignalWorkflow(ctx, started.GetID(), "", "add", "one"); err != nil {
		return err
	}
	if err := r.seen(ctx, started, []string{"one"}); err != nil {
		return err
	}
	if err := r.client.SignalWorkflow(ctx, started.GetID(), "", "add", "end"); err != nil {
		return err
	}
	var words []string
	err = started.Get(ctx, &words)
	both := []string{"one", "end"}
	return errors.Join(err, equal(words, both), r.seen(ctx, started, both))
}

func caseTimer(ctx context.Context, r *run) error {
	started, err := r.start(ctx, timer)
	if err != nil {
		return err
	}
	var slept time.Duration
	if err := started.Get(ctx, &slept); err != nil {
		return err
	}
	if slept < time.Second || slept > 10*time.Second {
		return fmt.Errorf("slept %s", slept)
	}
	fired := false
	events := r.client.GetWorkflowHistory(ctx, started.GetID(), started.GetRunID(), false, 0)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return err
		}
		fired = fired || event.EventType == enums.EVENT_TYPE_TIMER_FIRED
	}
	return equal(fired, true)
}

func caseCancel(ctx context.Context, r *run) error {
	started, err := r.start(ctx, cancel)
	if err != nil {
		return err
	}
	for {
		description, err := r.client.DescribeWorkflowExecution(ctx, started.GetID(), "")
		if err != nil {
			return err
		}
		if len(description.PendingActivities) > 0 {
			break
		}
		time.Sleep(20 * time.Millisecond) // the pace of looking
	}
	if err := r.client.CancelWorkflow(ctx, started.GetID(), ""); err != nil {
		return err
	}
	var canceled *temporal.CanceledError
	if err := started.Get(ctx, nil); !errors.As(err, &canceled) {
		return fmt.Errorf("expected a cancellation, got %v", err)
	}
	description, err := r.client.DescribeWorkflowExecution(ctx, started.GetID(), "")
	if err != nil {
		return err
	}
	return equal(description.WorkflowExecutionInfo.Status, enums.WORKFLOW_EXECUTION_STATUS_CANCELED)
}

func caseContinueAsNew(ctx context.Context, r *run) error {
	started, err := r.start(ctx, continueAsNew, 2)
	if err != nil {
		return err
	}
	first := started.GetRunID()
	var last string
	if err := started.Get(ctx, &last); err != nil {
		return err
	}
	description, err := r.client.DescribeWorkflowExecution(ctx, started.GetID(), "")
	if err != nil {
		return err
	}
	return errors.Join(equal(first != last, true), equal(description.WorkflowExecutionInfo.Execution.RunId, last))
}

func caseAsyncCompletion(ctx context.Context, r *run) error {
	started, err := r.start(ctx, asyncCompletion)
	if err != nil {
		return err
	}
	var token []byte
	select {
	case token = <-r.handover.token:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := r.client.RecordActivityHeartbeat(ctx, token, "on it"); err != nil {
		return err
	}
	if err := r.client.CompleteActivity(ctx, token, "completed by somebody else", nil); err != nil {
		return err
	}
	var result string
	err = started.Get(ctx, &result)
	return errors.Join(err, equal(result, "completed by somebody else"))
}

var cases = []struct {
	name string
	run  func(context.Context, *run) error
}{
	{"hello", caseHello},
	{"activity_retries", caseRetries},
	{"signal_and_query", caseSignalAndQuery},
	{"timer", caseTimer},
	{"cancel", caseCancel},
	{"continue_as_new", caseContinueAsNew},
	{"async_completion", caseAsyncCompletion},
}

func runCases(r *run) int {
	failed := 0
	for _, each := range cases {
		ctx, done := context.WithTimeout(context.Background(), caseMax)
		err := each.run(ctx, r)
		done()
		if err != nil {
			failed++
			fmt.Printf("FAIL %s: %v\n", each.name, err)
		} else {
			fmt.Printf("ok   %s\n", each.name)
		}
	}
	fmt.Printf("%d passed, %d failed\n", len(cases)-failed, failed)
	return failed
}

func startWorker(r *run) (worker.Worker, error) {
	w := worker.New(r.client, r.queue, worker.Options{})
	for _, kind := range []any{hello, retries, signalAndQuery, timer, cancel, continueAsNew, asyncCompletion} {
		w.RegisterWorkflow(kind)
	}
	for _, kind := range []any{greet, flaky, untilCanceled, r.handover} {
		w.RegisterActivity(kind)
	}
	return w, w.Start()
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: e2e ADDRESS NAMESPACE")
		os.Exit(2)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	c, err := client.Dial(client.Options{
		HostPort:  os.Args[1],
		Namespace: os.Args[2],
		Logger:    log.NewStructuredLogger(logger),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot connect:", err)
		os.Exit(1)
	}
	r := &run{client: c, queue: "go-" + uuid.NewString(), handover: &handover{token: make(chan []byte, 1)}}
	w, err := startWorker(r)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the worker does not start:", err)
		os.Exit(1)
	}
	failed := runCases(r)
	w.Stop()
	c.Close()
	if failed > 0 {
		os.Exit(1)
	}
}
