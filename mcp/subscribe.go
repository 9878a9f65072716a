package mcp

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	mcpgo "github.com/mark3labs/mcp-go/mcp"

	"cctask/engine/task"
)

// The most that one connection may subscribe to. A subscription costs a little
// memory and, if it is the first one to its task, a goroutine.
const (
	maxSubscriptions = 500
	maxURI           = 2048 // bytes
)

// listener is a client's wish to be told of changes: one for each
// subscriptions/listen, and one for all resources/subscribe of a connection.
type listener struct {
	conn *conn
	send func(uri string)
	wake chan struct{}

	// Held while an update is written, so that none comes after the answer
	// that ends its subscription.
	mu   sync.Mutex
	subs map[string]*watch // by URI; no map once it is closed

	dueMu sync.Mutex
	due   []string // URIs that changed since they were last told of
}

func newListener(c *conn, send func(uri string)) *listener {
	return &listener{conn: c, send: send, wake: make(chan struct{}, 1), subs: map[string]*watch{}}
}

// add subscribes to uris, all or none. When it returns, every later change is
// told; so the client should be answered only then, and read after that.
func (l *listener) add(ctx context.Context, uris []string) *responseError {
	fresh, bad := l.enter(uris)
	for _, w := range fresh {
		select {
		case <-w.looked:
		case <-ctx.Done():
		}
	}
	return bad
}

func (l *listener) enter(uris []string) (fresh []*watch, bad *responseError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs == nil {
		return nil, nil
	}
	var wanted []string
	for _, uri := range uris {
		if _, ok := l.subs[uri]; !ok && !slices.Contains(wanted, uri) {
			wanted = append(wanted, uri)
		}
		if len(uri) > maxURI {
			return nil, failure(mcpgo.INVALID_PARAMS, "a URI of %d bytes: at most %d are allowed in a subscription", len(uri), maxURI).Error
		}
		if len(wanted) > maxSubscriptions {
			break
		}
	}
	if !l.conn.reserve(len(wanted)) {
		return nil, failure(mcpgo.INVALID_PARAMS, "at most %d subscriptions are allowed on a connection; end one that is no longer needed, or subscribe to task://active instead of many tasks", maxSubscriptions).Error
	}
	for _, uri := range wanted {
		w := l.conn.srv.join(l, uri)
		l.subs[uri], fresh = w, append(fresh, w)
	}
	return fresh, nil
}

func (c *conn) reserve(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subscribed+n > maxSubscriptions {
		return false
	}
	c.subscribed += n
	return true
}

func (l *listener) remove(uri string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, ok := l.subs[uri]
	if !ok {
		return
	}
	delete(l.subs, uri)
	l.conn.reserve(-1)
	w.leave(l, uri)
}

func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for uri, w := range l.subs {
		w.leave(l, uri)
	}
	l.conn.reserve(-len(l.subs))
	l.subs = nil
}

// mark notes that what uri names has changed. A client that reads slowly is told
// once of many changes.
func (l *listener) mark(uri string) {
	l.dueMu.Lock()
	defer l.dueMu.Unlock()
	if !slices.Contains(l.due, uri) {
		l.due = append(l.due, uri)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *listener) serve(ctx context.Context) {
	defer l.close()
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil && l.tell() {
		}
	}
}

func (l *listener) tell() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	uri, ok := l.next()
	if _, wanted := l.subs[uri]; ok && wanted {
		l.send(uri)
	}
	return ok
}

// next takes a URI that is due. The lock is its own, and not held for long: a
// client that does not read must not hold up a watch.
func (l *listener) next() (uri string, ok bool) {
	l.dueMu.Lock()
	defer l.dueMu.Unlock()
	if len(l.due) == 0 {
		return "", false
	}
	uri, l.due = l.due[0], l.due[1:]
	return uri, true
}

const methodUpdated = "notifications/resources/updated"

// tag tells a client which of its subscriptions/listen a message is for.
type tag struct {
	ID json.RawMessage `json:"io.modelcontextprotocol/subscriptionId"`
}

type updatedParams struct {
	Meta *tag   `json:"_meta,omitempty"`
	URI  string `json:"uri"`
}

type listenFilter struct {
	ResourceSubscriptions []string `json:"resourceSubscriptions,omitempty"`
	TaskIDs               []string `json:"taskIds,omitempty"` // of the tasks extension
}

func (s *Server) subscribe(ctx context.Context, r *request, p params) (any, error) {
	uri := text(p["uri"])
	switch {
	case uri == "":
		return nil, errNoURI
	case foreign(uri) && len(uri) <= maxURI:
		fault := r.faultOf(task.Errorf(task.CodeNotFound, "Subscribe to task://active, task://recent, task://{id} or one of its streams.", "%s is no resource of this server", clip(uri, 100)))
		fault.Data = map[string]any{"uri": uri}
		return nil, fault
	}
	r.waits()
	if bad := r.conn.subscriptions().add(ctx, []string{uri}); bad != nil {
		return nil, bad
	}
	return mcpgo.EmptyResult{}, nil
}

func (s *Server) unsubscribe(_ context.Context, r *request, p params) (any, error) {
	uri := text(p["uri"])
	if uri == "" {
		return nil, errNoURI
	}
	r.conn.subscriptions().remove(uri)
	return mcpgo.EmptyResult{}, nil
}

var errNoURI = failure(mcpgo.INVALID_PARAMS, "uri: missing, required is the URI of a resource").Error

// listen is subscriptions/listen: it lasts until the client cancels it, or the
// server ends. Of what can be asked for we have the updates of resources and of
// MCP tasks: our lists do not change.
func (s *Server) listen(ctx context.Context, r *request, p params) (any, error) {
	var f listenFilter
	_ = json.Unmarshal(p["notifications"], &f) // checkParams has looked
	meta := tag{ID: r.id}
	r.waits()
	tasks, bad := r.knownTasks(ctx, f.TaskIDs)
	if bad != nil {
		return nil, bad
	}
	l := newListener(r.conn, func(uri string) {
		if id, ok := tasks[uri]; ok {
			r.tellTask(ctx, id)
			return
		}
		r.notify(methodUpdated, updatedParams{Meta: &meta, URI: uri})
	})
	followed := sortedKeys(tasks)
	// The acknowledgement names what is listened to, which is not what is not ours.
	f.ResourceSubscriptions = slices.DeleteFunc(f.ResourceSubscriptions, func(uri string) bool { return foreign(uri) && len(uri) <= maxURI })
	if bad := l.add(ctx, append(followed, f.ResourceSubscriptions...)); bad != nil {
		return nil, bad
	}
	f.TaskIDs = slices.Sorted(maps.Values(tasks))
	r.notify(mcpgo.MethodNotificationSubscriptionsAcknowledged, struct {
		Meta          tag          `json:"_meta"`
		Notifications listenFilter `json:"notifications"`
	}{meta, f})
	for _, uri := range followed {
		// At once: the task may have ended before anybody listened.
		l.mark(uri)
	}
	until, done := r.untilEnding(ctx)
	defer done()
	l.serve(until)
	return struct {
		Type string `json:"resultType"`
		Meta tag    `json:"_meta"`
	}{"complete", meta}, nil
}

// subscriptions gives what the connection hears of by resources/subscribe.
func (c *conn) subscriptions() *listener {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener == nil {
		c.listener = newListener(c, func(uri string) { c.notify(c.out, methodUpdated, updatedParams{URI: uri}) })
		go c.listener.serve(c.base)
	}
	return c.listener
}
