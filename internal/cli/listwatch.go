package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"cctask/engine"
)

// watchEvery is how often a watched list is asked for: its times count seconds.
const watchEvery = time.Second

// The terminal's second screen without a cursor, and back.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
)

// watchList draws the list in place until a signal comes, which is the way to
// end it and no fault to be told.
func (a *app) watchList(ctx context.Context, svc engine.Service, l lister) (err error) {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	clock := time.NewTicker(watchEvery)
	defer clock.Stop()
	if _, err := io.WriteString(a.Stdout, enterScreen); err != nil {
		return fmt.Errorf("draw the list: %w", err)
	}
	defer func() {
		_, leaveErr := io.WriteString(a.Stdout, leaveScreen)
		err = errors.Join(err, leaveErr)
	}()
	for {
		if err := a.drawList(ctx, svc, l); err != nil {
			if ctx.Err() != nil {
				return &stop{code: exitInterrupted}
			}
			return err
		}
		select {
		case <-ctx.Done():
			return &stop{code: exitInterrupted}
		case <-clock.C:
		case <-resized:
		}
	}
}

func (a *app) drawList(ctx context.Context, svc engine.Service, l lister) error {
	page, err := svc.List(ctx, l.filter)
	if err != nil {
		return err
	}
	width, height := screenSize(a.Stdout)
	foot := totals(page)
	lines := []string{l.empty}
	if len(page.Tasks) > 0 {
		lines = strings.Split(strings.TrimSuffix(table(l.cols, page.Tasks, width, a.coloured(a.Stdout), time.Now()), "\n"), "\n")
	}
	lines = lines[:min(len(lines), max(1, height-2))]
	lines = append(lines, "", shorten(foot+"   "+time.Now().Format(time.TimeOnly)+"   Ctrl-C leaves", width))
	// Each line is cleared behind its end and the rest of the screen at last:
	// clearing all of it first would flicker.
	_, err = io.WriteString(a.Stdout, "\x1b[H"+strings.Join(lines, "\x1b[K\n")+"\x1b[K\x1b[J")
	return err
}

// screenSize is that of the terminal behind w; of one that does not know it,
// what terminals have had for long.
func screenSize(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
	}
	return 80, 24
}
