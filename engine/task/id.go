package task

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// ID names a task: a ULID written as 26 characters. The same string is the
// task_id of MCP, the key in the database and the name a person types.
type ID string

// IDLength is the number of characters of an ID.
const IDLength = 26

var entropy = struct {
	sync.Mutex
	io.Reader
}{Reader: ulid.Monotonic(rand.Reader, 0)}

func NewID(now time.Time) ID { return NewIDs(now, 1)[0] }

// NewIDs returns fresh ids that increase strictly, so that tasks submitted together keep
// their order.
func NewIDs(now time.Time, n int) []ID {
	entropy.Lock()
	defer entropy.Unlock()
	ids := make([]ID, n)
	for i := range ids {
		ids[i] = ID(ulid.MustNew(ulid.Timestamp(now), entropy.Reader).String())
	}
	return ids
}

// ParseID checks that s is a whole id and returns its canonical form.
func ParseID(s string) (ID, error) {
	u, err := ulid.ParseStrict(strings.ToUpper(s))
	if err != nil {
		return "", fmt.Errorf("task id %q: %w", s, err)
	}
	return ID(u.String()), nil
}

// FirstID is the least id that a task created at t can have.
func FirstID(t time.Time) ID {
	var u ulid.ULID
	if ms := t.UnixMilli(); ms > 0 {
		_ = u.SetTime(min(uint64(ms), ulid.MaxTime()))
	}
	return ID(u.String())
}

// Time is the moment of the id's creation, to the millisecond.
func (id ID) Time() time.Time {
	u, err := ulid.ParseStrict(string(id))
	if err != nil {
		return time.Time{}
	}
	return ulid.Time(u.Time())
}

// UUID writes the id's 128 bits as a UUID, the session id of a task's first
// attempt. claude takes any UUID shape as long as it is in lower case.
func (id ID) UUID() string {
	u, err := ulid.ParseStrict(string(id))
	if err != nil {
		return ""
	}
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// BareRef is a reference without what people and models put around one: white
// space, quotes, and task://, with what a resource has behind the id.
func BareRef(ref string) string {
	for {
		bare := strings.Trim(strings.TrimSpace(ref), "\"'`")
		if uri, ok := strings.CutPrefix(bare, "task://"); ok {
			bare, _, _ = strings.Cut(uri, "/")
			bare, _, _ = strings.Cut(bare, "?")
			if name, err := url.PathUnescape(bare); err == nil {
				bare = name
			}
		}
		if bare == ref {
			return ref
		}
		ref = bare
	}
}
