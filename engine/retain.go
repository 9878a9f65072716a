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
		return false, nil
	}
	ids, err := e.store.Expired(e.cfg.Keep, time.Now(), retainBatch)
	if err != nil {
		return false, fmt.Errorf("find expired tasks: %w", err)
	}
	if len(ids) == 0 {
		return false, nil
	}
	removed := 0
	for _, id := range ids {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		used, err := e.inUse(id)
		if err != nil {
			return false, fmt.Errorf("look up the sessions of task %s: %w", id, err)
		}
		if used {
			continue
		}
		switch err := e.remove(id, task.ByRetention); {
		case err == nil:
			removed++
		case !errors.Is(err, task.ErrNotFound) && !errors.Is(err, task.ErrConflict):
			return false, err
		}
	}
	return removed == retainBatch, nil
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
