// Steady work with the Go SDK, for tests that hurt the cluster meanwhile. Usage: steady CLIENTS WORKERS IN_FLIGHT
//
// Runs workflows (an activity, a timer, a signal, a query), IN_FLIGHT at a time, until its standard input ends; then
// prints, as JSON, how many there were, which calls failed in spite of the SDK's own retries, and the longest of each kind.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const queue = "steady-go"

// steady waits for one signal, and answers what it brought.
func steady(ctx workflow.Context) (string, error) {
	state := "began"
	if err := workflow.SetQueryHandler(ctx, "state", func() (string, error) { return state, nil }); err != nil {
		return "", err
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
	if err := workflow.ExecuteActivity(ctx, work).Get(ctx, &state); err != nil {
		return "", err
	}
	if err := workflow.Sleep(ctx, 500*time.Millisecond); err != nil {
		return "", err
	}
	var brought string
	workflow.GetSignalChannel(ctx, "go").Receive(ctx, &brought)
	return brought, nil
}

func work(context.Context) (string, error) {
	time.Sleep(20 * time.Millisecond)
	return "worked", nil
}

// logger counts what a worker complains about.
type logger struct {
	warnings, errors atomic.Int64
	mutex            sync.Mutex
	examples         map[string]int
}

func (l *logger) Debug(string, ...any) {}
func (l *logger) Info(string, ...any)  {}
func (l *logger) Warn(text string, values ...any) {
	l.warnings.Add(1)
	l.keep("warning", text, values)
}
func (l *logger) Error(text string, values ...any) {
	l.errors.Add(1)
	l.keep("error", text, values)
}
func (l *logger) keep(level, text string, values []any) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for i := 0; i+1 < len(values); i += 2 {
		if values[i] == "Error" {
			text = fmt.Sprintf("%s: %v", text, values[i+1])
		}
	}
	l.examples[level+": "+text]++
}

type report struct {
	mutex     sync.Mutex
	Workflows int                `json:"workflows"`
	Failed    []string           `json:"failed"`
	Longest   map[string]float64 `json:"longest"` // seconds
	Warnings  int64              `json:"warnings"`
	Errors    int64              `json:"errors"`
	Examples  map[string]int     `json:"logged"`
}

func (r *report) timed(what string, call func() error) bool {
	began := time.Now()
	err := call()
	took := time.Since(began).Seconds()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.Longest[what] = max(r.Longest[what], took)
	if err != nil {
		r.Failed = append(r.Failed, fmt.Sprintf("%s: %v", what, err))
	}
	return err == nil
}

func (r *report) one(ctx context.Context, c client.Client) {
	var started client.WorkflowRun
	id := "steady-go-" + uuid.NewString()
	if !r.timed("start", func() (err error) {
		started, err = c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: queue}, steady)
		return err
	}) {
		return
	}
	r.timed("query", func() error {
		_, err := c.QueryWorkflow(ctx, id, "", "state")
		return err
	})
	r.timed("signal", func() error { return c.SignalWorkflow(ctx, id, "", "go", "arrived") })
	var result string
	r.timed("result", func() error { return started.Get(ctx, &result) })
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.Workflows++
	if result != "arrived" {
		r.Failed = append(r.Failed, fmt.Sprintf("%s: result %q", id, result))
	}
}

func run(clients, workers string, inFlight int) error {
	log := &logger{examples: map[string]int{}}
	c, err := client.Dial(client.Options{HostPort: clients, Logger: log})
	if err != nil {
		return err
	}
	w, err := client.Dial(client.Options{HostPort: workers, Logger: log})
	if err != nil {
		return err
	}
	hand := worker.New(w, queue, worker.Options{})
	hand.RegisterWorkflow(steady)
	hand.RegisterActivity(work)
	if err := hand.Start(); err != nil {
		return err
	}
	r := &report{Failed: []string{}, Longest: map[string]float64{}, Examples: log.examples}
	var over atomic.Bool
	var all sync.WaitGroup
	for range inFlight {
		all.Go(func() {
			for !over.Load() {
				r.one(context.Background(), c)
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	over.Store(true)
	all.Wait()
	hand.Stop()
	r.Warnings, r.Errors = log.warnings.Load(), log.errors.Load()
	return json.NewEncoder(os.Stdout).Encode(r)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: steady CLIENTS WORKERS IN_FLIGHT")
		os.Exit(2)
	}
	inFlight, err := strconv.Atoi(os.Args[3])
	if err == nil {
		err = run(os.Args[1], os.Args[2], inFlight)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
