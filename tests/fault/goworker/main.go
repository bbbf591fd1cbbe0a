// Goworker runs a worker of the official Go SDK until its standard input ends. What it logs, warnings and worse, are lines
// of JSON on its standard output.
package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

func step(context.Context) error { return nil }

// steps is two activities, one after the other.
func steps(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 5 * time.Second})
	for i := 0; i < 2; i++ {
		if err := workflow.ExecuteActivity(ctx, "step").Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	logger := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c, err := client.Dial(client.Options{HostPort: os.Args[1], Logger: log.NewStructuredLogger(logger)})
	if err != nil {
		logger.Error(err.Error())
		os.Exit(1)
	}
	w := worker.New(c, os.Args[2], worker.Options{})
	w.RegisterWorkflowWithOptions(steps, workflow.RegisterOptions{Name: "Steps"})
	w.RegisterActivity(step)
	if err := w.Start(); err != nil {
		logger.Error(err.Error())
		os.Exit(1)
	}
	io.ReadAll(os.Stdin)
	w.Stop()
	c.Close()
}
