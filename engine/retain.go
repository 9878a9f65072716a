package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cctask/engine/task"
)

// retain lets old tasks go, a few at a time.
func (e *Engine) retain() {
	for {
		more, err := e.retainOnce(e.ctx)
		if err != nil && e.ctx.Err() == nil {
			e.log.Warn().Err(err).Msg("retention")
		}
		wait := retainEvery
		if more {
			wait = retainPause
		}
		select {
		case <-time.After(wait):
		case <-e.ctx.Done():
			return
		}
	}
}

const (
	retainEvery = time.Minute
	retainBatch = 50
	retainPause = time.Second // between batches, so that no front waits behind them
)

// retainOnce removes one batch and tells whether there may be more.
func (e *Engine) retainOnce(ctx context.Context) (more bool, err error) {
	if err := e.store.Forget(time.Now()); err != nil {
		return false, fmt.Errorf("forget old idempotency keys: %w", err)
	}
	if e.cfg.Keep == (task.KeepPolicy{}) {
		return false, e.endHold()
	}
	list, err := e.store.Expired(e.cfg.Keep, time.Now(), retainBatch+e.keptOn)
	if err != nil {
		return false, fmt.Errorf("find expired tasks: %w", err)
	}
	waits, err := e.waits(time.Now())
	if err != nil || waits {
		return false, err
	}
	removed, err := e.removeExpired(ctx, list)
	e.keptOn = len(list) - removed // those must not fill the next batch
	if err == nil && removed < retainBatch {
		err = e.endHold()
	}
	return removed >= retainBatch, err
}

// removeExpired tells how many of them it has deleted.
func (e *Engine) removeExpired(ctx context.Context, list []task.Expiry) (removed int, err error) {
	for _, x := range list {
		if ctx.Err() != nil {
			return removed, ctx.Err()
		}
		used, err := e.inUse(x.ID)
		if err != nil {
			return removed, fmt.Errorf("look up the sessions of task %s: %w", x.ID, err)
		}
		if used {
			continue
		}
		switch err := e.remove(x.ID, task.ByRetention); {
		case err == nil:
			removed++
			e.log.Info().Str("task", string(x.ID)).Str("rule", x.Rule).Msg("deleted by the retention")
		case !errors.Is(err, task.ErrNotFound) && !errors.Is(err, task.ErrConflict) && !errors.Is(err, task.ErrUnmerged):
			return removed, err
		}
	}
	return removed, nil
}

// waits tells whether what the retention would delete looks like an accident, of
// the clock or of a setting, and a day has not passed since that was seen. The
// hold is recorded: an owner does not live as long.
func (e *Engine) waits(now time.Time) (bool, error) {
	h, err := e.store.Hold()
	if err != nil {
		return false, fmt.Errorf("look what the retention waits for: %w", err)
	}
	d, err := e.store.Doom(e.cfg.Keep, now)
	if err != nil {
		return false, fmt.Errorf("count expired tasks: %w", err)
	}
	held := !h.Since.IsZero() && !now.Before(h.Since) && h.Doom.Covers(d) // else the clock went back, or a setting was changed
	switch why := d.Suspicious(now); {
	case d.Expired == 0:
		return false, e.endHold()
	case held:
		return now.Before(h.Until()), nil
	case why == "":
		return false, nil
	default:
		h = task.Hold{Since: now, Doom: d, Why: why}
	}
	e.log.Warn().Msg(h.String())
	return true, e.store.SetHold(h)
}

// endHold lets the next suspicious pass wait anew.
func (e *Engine) endHold() error {
	h, err := e.store.Hold()
	if err == nil && !h.Since.IsZero() {
		err = e.store.SetHold(task.Hold{})
	}
	return err
}

// inUse tells whether another task works, or waits to, in a session of this one.
func (e *Engine) inUse(id task.ID) (bool, error) {
	attempts, err := e.store.Attempts(id)
	for _, a := range attempts {
		if holder, err := e.store.Holder(a.SessionID); err != nil || holder != "" {
			return true, err
		}
	}
	return false, err
}
