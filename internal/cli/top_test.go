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
		Service: broken{}, Changes: broken{}, In: os.Stdin, Out: os.Stdout, Env: os.Environ(),
	})
	if err != nil {
		os.Exit(1)
	}
}

type broken struct{ engine.Service }

func (broken) Next(context.Context) (bool, error) { return true, nil }

func (broken) List(context.Context, task.Filter) (task.Page, error) {
	panic(errors.New("provoked by a test"))
}
