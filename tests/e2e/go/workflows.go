package main

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// The workflows and activities of the Go cases.

func greet(_ context.Context, name string) (string, error) {
	return fmt.Sprintf("Hello, %s!", name), nil
}

// flaky fails twice and answers with its attempt then.
func flaky(ctx context.Context) (int32, error) {
	attempt := activity.GetInfo(ctx).Attempt
	if attempt < 3 {
		return 0, fmt.Errorf("attempt %d", attempt)
	}
	return attempt, nil
}

// untilCanceled heartbeats until it is told to stop.
func untilCanceled(ctx context.Context) error {
	beat := time.NewTicker(100 * time.Millisecond)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			activity.RecordHeartbeat(ctx, "alive")
		}
	}
}

// handover leaves its task token to somebody else, who completes it.
type handover struct {
	token chan []byte
}

func (h *handover) HandOver(ctx context.Context) (string, error) {
	h.token <- activity.GetInfo(ctx).TaskToken
	return "", activity.ErrResultPending
}

func short(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 30 * time.Second})
}

func hello(ctx workflow.Context, name string) (string, error) {
	var greeting string
	err := workflow.ExecuteActivity(short(ctx), greet, name).Get(ctx, &greeting)
	return greeting, err
}

func retries(ctx workflow.Context) (int32, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 30 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 50 * time.Millisecond, BackoffCoefficient: 1},
	})
	var attempt int32
	err := workflow.ExecuteActivity(ctx, flaky).Get(ctx, &attempt)
	return attempt, err
}

func signalAndQuery(ctx workflow.Context) ([]string, error) {
	seen := []string{}
	err := workflow.SetQueryHandler(ctx, "seen", func() ([]string, error) { return seen, nil })
	if err != nil {
		return nil, err
	}
	signals := workflow.GetSignalChannel(ctx, "add")
	for {
		var word string
		signals.Receive(ctx, &word)
		seen = append(seen, word)
		if word == "end" {
			return seen, nil
		}
	}
}

func timer(ctx workflow.Context) (time.Duration, error) {
	began := workflow.Now(ctx)
	err := workflow.Sleep(ctx, time.Second)
	return workflow.Now(ctx).Sub(began), err
}

func cancel(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 30 * time.Second,
		HeartbeatTimeout:    5 * time.Second,
		WaitForCancellation: true,
	})
	return workflow.ExecuteActivity(ctx, untilCanceled).Get(ctx, nil)
}

func continueAsNew(ctx workflow.Context, left int) (string, error) {
	if left > 0 {
		return "", workflow.NewContinueAsNewError(ctx, continueAsNew, left-1)
	}
	return workflow.GetInfo(ctx).WorkflowExecution.RunID, nil
}

func asyncCompletion(ctx workflow.Context) (string, error) {
	var h *handover
	var result string
	err := workflow.ExecuteActivity(short(ctx), h.HandOver).Get(ctx, &result)
	return result, err
}
