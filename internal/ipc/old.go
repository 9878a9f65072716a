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
