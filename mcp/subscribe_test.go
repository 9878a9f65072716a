package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cctask/engine/task"
)

// updates are the notifications that a client got, by "tag uri".
type updates map[string][]time.Duration

// gather reads what comes until d has passed in the bubble.
func (p *peer) gather(d time.Duration) updates {
	p.t.Helper()
	got, start := updates{}, time.Now()
	end := time.After(d)
	for {
		select {
		case m := <-p.msgs:
			var u updatedParams
			if m.Method != methodUpdated || json.Unmarshal(m.Params, &u) != nil {
				p.t.Fatalf("got %s", m.raw)
			}
			of := "-"
			if u.Meta != nil {
				of = string(u.Meta.ID)
			}
			got[of+" "+u.URI] = append(got[of+" "+u.URI], time.Since(start))
		case <-end:
			return got
		}
	}
}

func (u updates) want(t *testing.T, when string, keys ...string) {
	t.Helper()
	slices.Sort(keys)
	if got := slices.Sorted(maps.Keys(u)); !slices.Equal(got, keys) {
		t.Errorf("%s: told of\n%v\nwant\n%v", when, got, keys)
	}
}

// listen opens a stream and reads its acknowledgement.
func (p *peer) listen(id string, uris ...string) {
	p.t.Helper()
	list, err := json.Marshal(uris)
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(`{"jsonrpc":"2.0","id":%s,"method":"subscriptions/listen","params":{%s,"notifications":{"toolsListChanged":true,"resourceSubscriptions":%s}}}`, id, modernMeta, list)
	want := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s},"notifications":{"resourceSubscriptions":%s}}}`, id, list)
	if m := p.next(); m.raw != want {
		p.t.Fatalf("got  %s\nwant %s", m.raw, want)
	}
}

// Every test in a bubble also shows that no goroutine is left behind: the bubble
// ends only when all of its goroutines have.
func TestListenTellsOfEachPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := newPeer(t, f)
		id := f.seed(t)
		of := "task://" + string(id)
		p.listen(`"a"`, of, of+"/stdout", of+"/stdout?offset=5", of+"/stderr", of+"/result", of+"/prompt", "task://active", "task://recent", "task://nobody")
		// What is not ours is not listened to, and the acknowledgement says so.
		p.send(`{"jsonrpc":"2.0","id":"b","method":"subscriptions/listen","params":{%s,"notifications":{"resourceSubscriptions":["file:///etc/passwd","%s/nope",""]}}}`, modernMeta, of)
		if m := p.next(); !strings.HasSuffix(m.raw, `"notifications":{}}}`) {
			t.Errorf("got %s", m.raw)
		}
		p.listen("9007199254740993", of+"/stderr") // an id that no float holds
		p.gather(10*time.Second).want(t, "nothing happens")

		f.change(id, func(t *task.Task) { t.StdoutBytes += 10 })
		p.gather(3*time.Second).want(t, "stdout grows", `"a" `+of, `"a" `+of+"/stdout", `"a" `+of+"/stdout?offset=5", `"a" task://active`, `"a" task://recent`)
		f.change(id, func(t *task.Task) { t.StderrBytes += 10 })
		p.gather(3*time.Second).want(t, "stderr grows", `"a" `+of, `"a" `+of+"/stderr", "9007199254740993 "+of+"/stderr", `"a" task://active`, `"a" task://recent`)
		f.end(id, task.Failed, "no")
		p.gather(3*time.Second).want(t, "the end", `"a" `+of, `"a" `+of+"/result", `"a" task://active`, `"a" task://recent`)
		f.change(id, func(t *task.Task) {
			t.Status, t.Attempt, t.StdoutBytes, t.ResultBytes = task.Running, 2, 0, 0
		})
		p.gather(8*time.Second).want(t, "a retry", `"a" `+of, `"a" `+of+"/result", `"a" `+of+"/stdout", `"a" `+of+"/stdout?offset=5", `"a" `+of+"/stderr", `"a" `+of+"/prompt",
			"9007199254740993 "+of+"/stderr", `"a" task://active`, `"a" task://recent`)
		f.change(id, func(t *task.Task) { t.Spec.Name = "nobody" })
		p.gather(8*time.Second).want(t, "a task of that name", `"a" `+of, `"a" task://nobody`, `"a" task://active`, `"a" task://recent`)
		if err := f.Remove(t.Context(), string(id), true); err != nil {
			t.Fatal(err)
		}
		gone := p.gather(8 * time.Second)
		if len(gone[`"a" `+of]) != 1 || len(gone[`"a" task://nobody`]) != 1 {
			t.Errorf("a task was removed: told of %v", gone)
		}

		// The server's end is an answer.
		p.in.Close()
		var ends []string
		for m := range p.msgs {
			ends = append(ends, m.raw)
		}
		slices.Sort(ends)
		want := `{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","_meta":{"io.modelcontextprotocol/subscriptionId":%[1]s}}}`
		if w := []string{fmt.Sprintf(want, `"a"`), fmt.Sprintf(want, `"b"`), fmt.Sprintf(want, "9007199254740993")}; !slices.Equal(ends, w) {
			t.Errorf("ended with %v", ends)
		}
	})
}

// A task that writes all the time is told of once a second, the last change
// included, with few requests, however many listen; and never after the end.
func TestUpdatesAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := newPeer(t, f)
		id := f.seed(t)
		of := "task://" + string(id)
		for n := range 100 {
			p.listen(fmt.Sprint(n), of+"/stdout")
		}
		f.mu.Lock()
		f.calls = nil
		f.mu.Unlock()
		go func() {
			for range 200 {
				time.Sleep(50 * time.Millisecond)
				f.change(id, func(t *task.Task) { t.StdoutBytes++ })
			}
		}()
		got := p.gather(20 * time.Second)
		if len(got) != 100 {
			t.Errorf("%d of 100 were told", len(got))
		}
		for key, times := range got {
			for i, at := range times[1:] {
				if gap := at - times[i]; gap < updateEvery {
					t.Fatalf("%s: two updates in %v", key, gap)
				}
			}
			if last := times[len(times)-1]; len(times) < 9 || last < 10*time.Second {
				t.Fatalf("%s: %d updates, the last after %v", key, len(times), last)
			}
		}
		f.mu.Lock()
		if n := len(f.calls); n > 15 {
			t.Errorf("%d requests in 10 s for one task", n)
		}
		f.mu.Unlock()
		f.change(id, func(t *task.Task) { t.StdoutBytes++ })
		for n := range 100 {
			p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, n)
		}
		synctest.Wait()
		for len(p.msgs) > 0 {
			<-p.msgs // told before the cancel
		}
		f.change(id, func(t *task.Task) { t.StdoutBytes++ })
		p.gather(10*time.Second).want(t, "all are cancelled")
		p.send(`{"jsonrpc":"2.0","id":"last","method":"resources/list","params":{%s}}`, modernMeta)
		if m := p.next(); string(m.ID) != `"last"` {
			t.Errorf("got %s", m.raw)
		}
		f.mu.Lock()
		if f.watches != 0 {
			t.Errorf("%d watches go on", f.watches)
		}
		f.mu.Unlock()
		p.in.Close()
		<-p.served
	})
}

func TestLegacySubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := newPeer(t, f)
		id := f.seed(t)
		of := "task://" + string(id)
		ask := func(method, uri string) {
			t.Helper()
			if m := p.rpc(method, fmt.Sprintf(`"uri":%q`, uri)); m.raw != `{"jsonrpc":"2.0","id":1,"result":{}}` {
				t.Fatalf("got %s", m.raw)
			}
		}
		ask("resources/subscribe", of)
		ask("resources/subscribe", of)
		ask("resources/subscribe", of+"/stdout")
		for _, uri := range []string{"other://thing", "file:///etc/passwd", of + "/nope", "task://"} {
			if m := p.rpc("resources/subscribe", fmt.Sprintf(`"uri":%q`, uri)); m.Error == nil || m.Error.Code != -32002 {
				t.Errorf("%q: %s", uri, m.raw)
			}
		}
		ask("resources/unsubscribe", "never://subscribed")
		f.change(id, func(t *task.Task) { t.StdoutBytes++ })
		got := p.gather(3 * time.Second)
		if got.want(t, "a change", "- "+of, "- "+of+"/stdout"); len(got["- "+of]) != 1 {
			t.Errorf("told %v", got)
		}
		ask("resources/unsubscribe", of)
		f.change(id, func(t *task.Task) { t.StdoutBytes++ })
		p.gather(3*time.Second).want(t, "one is ended", "- "+of+"/stdout")
		ask("resources/unsubscribe", of+"/stdout")
		f.change(id, func(t *task.Task) { t.StdoutBytes++ })
		p.gather(3*time.Second).want(t, "both are ended")
		ask("resources/subscribe", of)
		ask("resources/subscribe", "task://active")
		p.in.Close()
		<-p.served
	})
}

// Nothing is asked while nothing changes, of a list as little as of a task that has ended.
func TestQuietSubscriptionsAskNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := newPeer(t, f)
		id := f.seed(t)
		f.end(id, task.Completed, "done")
		p.listen("1", "task://"+string(id), "task://active", "task://nobody")
		time.Sleep(5 * time.Second)
		f.mu.Lock()
		f.calls = nil
		f.mu.Unlock()
		time.Sleep(time.Hour)
		f.mu.Lock()
		if n := len(f.calls); n > 0 {
			t.Errorf("%d questions in an hour", n)
		}
		f.mu.Unlock()
		f.seed(t)
		p.gather(2*time.Second).want(t, "a new task", "1 task://active")
		p.in.Close()
		<-p.served
	})
}

// What could not be seen at first may have changed when it is seen.
func TestListenWhileTheOwnerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := newPeer(t, f)
		id := f.seed(t)
		of := "task://" + string(id)
		f.fault = errors.New("away")
		p.listen("1", of, "task://active", "task://nobody")
		p.gather(20*time.Second).want(t, "away")
		f.mu.Lock()
		f.fault = nil
		f.mu.Unlock()
		p.gather(10*time.Second).want(t, "back", "1 "+of, "1 task://active")
		f.mu.Lock()
		f.fault = errors.New("away")
		f.mu.Unlock()
		p.gather(20*time.Second).want(t, "away again")
		f.change(id, func(t *task.Task) { t.StdoutBytes++ })
		f.mu.Lock()
		f.fault = nil
		f.mu.Unlock()
		p.gather(10*time.Second).want(t, "back again", "1 "+of, "1 task://active")
		p.in.Close()
		<-p.served
	})
}

func TestSubscriptionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, newFake())
		uris := make([]string, maxSubscriptions)
		for i := range uris {
			uris[i] = fmt.Sprintf("task://t%d", i)
		}
		p.listen("7", uris...)
		list := strings.Join(uris, `","`)
		for _, c := range []struct{ method, params, want string }{
			{"resources/subscribe", `"uri":"task://y"`, "at most 500 subscriptions"},
			{"subscriptions/listen", modernMeta + `,"notifications":{"resourceSubscriptions":["task://y"]}`, "at most 500 subscriptions"},
			{"subscriptions/listen", modernMeta + `,"notifications":{"resourceSubscriptions":["task://y","` + list + `"]}`, "at most 500 subscriptions"},
			{"resources/subscribe", `"uri":"` + strings.Repeat("x", maxURI+1) + `"`, "a URI of 2049 bytes"},
		} {
			if m := p.rpc(c.method, c.params); m.Error == nil || m.Error.Code != -32602 || !strings.Contains(m.Error.Message, c.want) {
				t.Errorf("%s was answered %s", c.method, m.raw)
			}
		}
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)
		synctest.Wait()
		p.listen("7", uris...) // the places are free again
		p.in.Close()
		<-p.served
	})
}

// A client that does not read holds up nobody: not even another one that
// listens to the same task.
func TestAListenerThatDoesNotReadHoldsUpNobody(t *testing.T) {
	f := newFake()
	s := New(Config{Service: f, Defaults: defaults})
	p := servePeer(t, f, s)
	id := f.seed(t)
	of := "task://" + string(id)
	in, stuckIn := io.Pipe()
	stuckOut, out := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), in, out) }()
	fmt.Fprintf(stuckIn, `{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":%q}}`+"\n", of)
	p.listen("1", of) // the other's answer is not read
	for range 3 {
		f.change(id, func(t *task.Task) { t.StdoutBytes++ })
		if m := p.next(); m.Method != methodUpdated {
			t.Fatalf("got %s", m.raw)
		}
	}
	stuckIn.Close()
	stuckOut.Close()
	<-served
	p.in.Close()
	<-p.served
	f.until(t, "no wait goes on", func() bool { return f.waiting == 0 })
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	if len(s.watches.byRef) != 0 {
		t.Errorf("watches are left: %v", s.watches.byRef)
	}
}

func TestListenIsRefusedAsAnyRequest(t *testing.T) {
	p := newPeer(t, newFake())
	future := strings.Replace(modernMeta, "2026", "2036", 1)
	if m := p.rpc("subscriptions/listen", future+`,"notifications":{}`); m.Error == nil || m.Error.Code != -32022 {
		t.Errorf("got %s", m.raw)
	}
	if m := p.rpc("subscriptions/listen", `"notifications":{}`); m.Error == nil || m.Error.Code != -32601 {
		t.Errorf("got %s", m.raw)
	}
	if m := p.rpc("resources/subscribe", modernMeta+`,"uri":"task://active"`); m.Error == nil || m.Error.Code != -32601 {
		t.Errorf("got %s", m.raw)
	}
}

// The watches end with a client that hangs up, and with a session.
func TestHTTPSubscriptionsEnd(t *testing.T) {
	f := newFake()
	p := newSite(t, newServer(f))
	of := "task://" + string(f.seed(t))
	listen := p.request("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":"l","method":"subscriptions/listen","params":{"_meta":%s,"notifications":{"resourceSubscriptions":[%q]}}}`, metaOverHTTP, of),
		"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen")
	resp, err := http.DefaultClient.Do(listen)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	f.until(t, "somebody watches", func() bool { return f.watches == 1 })
	resp.Body.Close()
	f.until(t, "nobody watches", func() bool { return f.watches == 0 })

	session := p.login("t")
	if a := p.do(p.request("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":%q}}`, of), session...)); a.last().Error != nil {
		t.Fatalf("got %s", a.body)
	}
	f.until(t, "somebody watches", func() bool { return f.watches == 1 })
	p.do(p.request("DELETE", "", session...))
	f.until(t, "nobody watches", func() bool { return f.watches == 0 })
}
