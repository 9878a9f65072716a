package cli_test

import (
	"context"
	"errors"
	"os"

	"cctask/engine"
	"cctask/engine/task"
	"cctask/internal/top"
)

// panics is top over an engine that panics when it is asked.
func panics() {
	err := top.Run(context.Background(), top.Config{
		Service: broken{}, In: os.Stdin, Out: os.Stdout, Env: os.Environ(),
	})
	if err != nil {
		os.Exit(1)
	}
}

type broken struct{ engine.Service }

func (b broken) Watch(engine.Scope) engine.Watch { return b }

func (broken) Next(context.Context) ([]engine.Event, error) { return nil, nil }

func (broken) Close() {}

func (broken) List(context.Context, task.Filter) (task.Page, error) {
	panic(errors.New("provoked by a test"))
}
