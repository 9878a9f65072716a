package engine

import "cctask/engine/task"

// Hub hands events to subscribers for a Service that is not an Engine, such as
// the ones in tests of fronts. The zero value works.
type Hub struct{ hub hub }

// Publish never blocks: a slow subscriber sees a task's newest event only.
func (h *Hub) Publish(ev Event) { h.hub.publish(ev) }

// Subscribe tells of the changes of one task, or of all with "".
func (h *Hub) Subscribe(id task.ID) *Subscription { return h.hub.subscribe(id) }
