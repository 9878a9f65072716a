package ipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
	"golang.org/x/sys/unix"

	"cctask/engine/task"
	"cctask/internal/statedir"
	"cctask/internal/sys"
)

// start starts an owner, if this is the front to do it. False: another front is
// about it, or an owner is there.
func (c *Client) start(ctx context.Context, deadline time.Time) (bool, error) {
	free, err := c.lockStart()
	if free == nil || err != nil {
		return false, err
	}
	defer free()
	if _, held, err := Inspect(c.cfg.Dir); held || err != nil {
		return false, err
	}
	return true, c.spawn(ctx, deadline)
}

// lockStart takes start.lock; free is nil if another front holds it.
func (c *Client) lockStart() (free func(), err error) {
	if err := statedir.Make(c.cfg.Dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(c.cfg.Dir, startName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, statedir.Refused(err)
	}
	got, err := sys.TryLock(int(f.Fd()), unix.LOCK_EX)
	if err != nil || !got {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = sys.Unlock(f) }, nil
}

// handOver asks an older owner to leave and starts one of this version. It
// holds start.lock all the while, or a front of the old version could be the one
// that starts the next owner. False: another front is about it.
func (c *Client) handOver(ctx context.Context, a *attachment, deadline time.Time) (bool, error) {
	free, err := c.lockStart()
	if free == nil || err != nil {
		return false, err
	}
	defer free()
	l, held, err := Inspect(c.cfg.Dir)
	if err != nil || !held || !l.same(a.lock) {
		return false, err
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err = a.stop(ctx, false)
	if err == nil {
		err = c.awaitFree(ctx, l)
	}
	if err != nil {
		// It goes on as it is.
		return true, nil //nolint:nilerr // an owner of before is better than none, where we understand it
	}
	return true, c.spawn(ctx, deadline)
}

func (c *Client) awaitFree(ctx context.Context, l Lock) error {
	for nap := newBackoff(); ; {
		now, held, err := Inspect(c.cfg.Dir)
		if err != nil || !held || now.PID != 0 && !now.same(l) {
			return err
		}
		if err := nap.sleep(ctx); err != nil {
			return err
		}
	}
}

// kill ends the owner of l, if it is still the one that l speaks of and in the
// phase in which it was found.
func (c *Client) kill(l Lock) error {
	err := l.process().Signal(unix.SIGKILL, func() (bool, error) {
		now, held, err := Inspect(c.cfg.Dir)
		return held && now.same(l) && now.Phase == l.Phase, err
	})
	if err != nil {
		return fmt.Errorf("kill process %d: %w", l.PID, err)
	}
	return nil
}

// Stop asks the owner to leave, with cancel after it has ended all tasks, and
// returns when owner.lock is free. Running tasks go on otherwise, and the owner
// comes back when one ends. No owner is task.CodeOwnerGone.
func (c *Client) Stop(ctx context.Context, cancel bool) error {
	l, held, err := Inspect(c.cfg.Dir)
	if err != nil {
		return err
	}
	if !held {
		return goneError(c.cfg.Dir)
	}
	a, err := c.find(ctx, false, true)
	if err != nil {
		// One that hung was killed on the way: it has let go.
		if now, held, ierr := Inspect(c.cfg.Dir); errors.Is(err, task.ErrOwnerGone) && ierr == nil && (!held || !now.same(l)) {
			return nil
		}
		return err
	}
	defer c.detach(a)
	if a.lock.older() {
		err = a.stop(ctx, cancel)
	} else {
		err = c.ask(ctx, a, stopVerb.name, stopRequest{Cancel: cancel}, &none{})
	}
	var dead *lostError
	var unreached *dialError
	// Whether it has answered or not, it is leaving or gone.
	if errors.Is(err, task.ErrClosing) || ctx.Err() == nil && (errors.As(err, &dead) || errors.As(err, &unreached)) {
		err = nil
	}
	if err != nil {
		return err
	}
	return c.awaitLeave(ctx, a.lock)
}

// awaitLeave waits for an owner that was told to leave, and kills it when it
// takes longer than StartWait.
func (c *Client) awaitLeave(ctx context.Context, l Lock) error {
	patient, done := context.WithTimeout(ctx, c.cfg.StartWait)
	defer done()
	err := c.awaitFree(patient, l)
	if err == nil || ctx.Err() != nil || patient.Err() == nil {
		return err
	}
	l.Phase = PhaseClosing
	if err := c.kill(l); err != nil {
		return err
	}
	return c.awaitFree(ctx, l)
}

// newer tells whether version a is strictly newer than b by the rules of
// semver. What is no release, or built in development, is newer than nothing
// and older than nothing.
func newer(a, b string) bool {
	a, b = canonical(a), canonical(b)
	return a != "" && b != "" && semver.Compare(a, b) > 0
}

// canonical is a version as package semver writes it, or "".
func canonical(version string) string {
	v := "v" + strings.TrimPrefix(version, "v")
	release, _, _ := strings.Cut(v, "-")
	if strings.Contains(version, "dev") || strings.Count(release, ".") != 2 {
		return ""
	}
	return semver.Canonical(v)
}

// Of the languages before ours one word is still known: leave. So an upgrade needs
// no hand, and what runs goes on. In the first of them, HTTP, the word is another one;
// since then frames and this verb have been the same.
const httpProtocol = 1

// older tells whether the owner of a lock speaks a language before ours.
func (l Lock) older() bool { return l.Protocol >= httpProtocol && l.Protocol < Protocol }

// stop tells the owner to leave, in its language.
func (a *attachment) stop(ctx context.Context, cancel bool) error {
	if a.lock.Protocol == httpProtocol {
		return a.stopOld(ctx, cancel)
	}
	return a.roundTrip(ctx, stopVerb.name, stopRequest{Cancel: cancel}, &none{})
}

func (a *attachment) stopOld(ctx context.Context, cancel bool) error {
	body, err := encode(stopRequest{Cancel: cancel})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://owner/v1/stop", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("tell the owner to leave: %w", err)
	}
	r.Header.Set("Cctask-Protocol", strconv.Itoa(httpProtocol))
	r.Header.Set("Cctask-Owner", a.lock.identity())
	old := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := a.dial(ctx)
		if err != nil {
			return nil, &dialError{err}
		}
		return c, nil
	}}
	resp, err := old.RoundTrip(r)
	if err != nil {
		return &lostError{err}
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return &lostError{err}
	}
	if resp.StatusCode != http.StatusOK {
		return decodeError(b)
	}
	return nil
}
