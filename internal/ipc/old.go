package ipc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// oldProtocol is the language before ours, HTTP, of which one word is still known:
// leave. So an upgrade needs no hand, and what runs goes on.
const oldProtocol = 1

// stop tells the owner to leave, in its language.
func (a *attachment) stop(ctx context.Context) error {
	if a.lock.Protocol == oldProtocol {
		return a.stopOld(ctx, false)
	}
	return a.roundTrip(ctx, stopVerb.name, stopRequest{}, &none{})
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
	r.Header.Set("Cctask-Protocol", strconv.Itoa(oldProtocol))
	r.Header.Set("Cctask-Owner", a.lock.identity())
	old := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := a.take(ctx)
		if err != nil {
			return nil, err
		}
		return c.Conn, nil
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
