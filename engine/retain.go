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
	removed := 0
	for _, id := range ids {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if e.sessionInUse(id) {
			continue
		}
		switch err := e.remove(id); {
		case err == nil:
			removed++
		case !errors.Is(err, task.ErrNotFound) && !errors.Is(err, task.ErrConflict):
			return false, err
		}
	}
	return removed == retainBatch, nil
}

// sessionInUse tells whether a live task works in a session of this one.
func (e *Engine) sessionInUse(id task.ID) bool {
	attempts, err := e.store.Attempts(id)
	if err != nil {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.live {
		for _, a := range attempts {
			if l.session == a.SessionID {
				return true
			}
		}
	}
	return false
}
