package mcp

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A call that takes long, which nobody could know before, holds up those behind it for
// a moment only, and can be cancelled.
func TestASlowCallDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		id := f.seed(t)
		p := servePeer(t, f, New(Config{Service: cold{f}, Defaults: defaults}))
		p.tool("1", "list_active_tasks", "{}")
		start := time.Now()
		for i := 2; i < 52; i++ {
			p.tool(fmt.Sprint(i), "check_task_status", fmt.Sprintf(`{"task_id":%q}`, id))
			if m := p.next(); string(m.ID) != fmt.Sprint(i) {
				t.Fatalf("after call %d came %s", i, m.raw)
			}
		}
		if took := time.Since(start); took > 2*longTurn {
			t.Errorf("50 calls behind a slow one took %v", took)
		}
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
		p.tool("1", "check_task_status", fmt.Sprintf(`{"task_id":%q}`, id)) // its id is free
		if m := p.next(); string(m.ID) != "1" || m.Error != nil {
			t.Errorf("after the cancel came %s", m.raw)
		}
		// The reader is one again when the slow call is over.
		time.Sleep(10 * time.Second)
		p.tool("2", "list_active_tasks", "{}")
		p.tool("3", "check_task_status", fmt.Sprintf(`{"task_id":%q}`, id))
		if m := p.next(); string(m.ID) != "3" {
			t.Errorf("first came %s", m.raw)
		}
		if m := p.next(); string(m.ID) != "2" {
			t.Errorf("then came %s", m.raw)
		}
	})
}
