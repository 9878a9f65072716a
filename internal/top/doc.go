// Package top is the live full-screen view of all tasks. A feed asks the engine
// what is new when it is told that something changed; the model holds what was
// seen last and what the person chose; the view draws it. It may import engine,
// engine/task, engine/claude, internal/show and the terminal libraries (which
// nobody else may), and must never know how the engine is reached.
package top

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	tea "charm.land/bubbletea/v2"

	"cctask/engine"
)

type Config struct {
	Service engine.Service
	// Again is what a resumed or retried task gets of this front.
	Again  engine.Again
	In     io.Reader
	Out    io.Writer
	Env    []string // of the terminal
	Colour bool
}

// drawn is how often a second the screen may be written; nothing is written
// while nothing on it changes.
const drawn = 20

// Run shows the tasks until the person leaves or ctx ends, which gives ctx's
// error. Whatever ends it, the terminal is then as it was.
func Run(ctx context.Context, c Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(ctx, c)
	defer m.feed.watch.Close()
	_, err := tea.NewProgram(m,
		tea.WithContext(ctx), tea.WithInput(c.In), tea.WithOutput(c.Out), tea.WithEnvironment(c.Env),
		tea.WithFPS(drawn), tea.WithoutSignalHandler()).Run()
	if err != nil && !errors.Is(err, tea.ErrProgramPanic) {
		err = cmp.Or(ctx.Err(), err)
	}
	if err != nil {
		return fmt.Errorf("show the tasks: %w", err)
	}
	return nil
}
