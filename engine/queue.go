package engine

import (
	"math/rand/v2"

	"cctask/engine/task"
)

// queue orders the queued tasks by the sequence that each took when it entered.
// It mirrors the store's queue, but for a task that an attempt is about to
// claim. Guarded by Engine.mu, which every front's question takes: no step may
// cost more than the logarithm of the queue's length.
type queue struct {
	order *place
	seqs  map[task.ID]uint64
}

func (q *queue) push(id task.ID, seq uint64) {
	if q.seqs == nil {
		q.seqs = map[task.ID]uint64{}
	}
	if q.seqs[id] == seq {
		return
	}
	q.remove(id)
	q.seqs[id] = seq
	q.order = q.order.with(&place{id: id, seq: seq, weight: rand.Uint32(), size: 1})
}

// pop takes the task that has waited longest.
func (q *queue) pop() (task.ID, bool) {
	first := q.order
	if first == nil {
		return "", false
	}
	for first.left != nil {
		first = first.left
	}
	q.remove(first.id)
	return first.id, true
}

func (q *queue) remove(id task.ID) {
	if seq, ok := q.seqs[id]; ok {
		q.order = q.order.without(seq)
		delete(q.seqs, id)
	}
}

func (q *queue) len() int { return len(q.seqs) }

// position is the task's place in the queue from 1, or 0 if it is not queued.
func (q *queue) position(id task.ID) int {
	seq, ok := q.seqs[id]
	if !ok {
		return 0
	}
	return q.order.before(seq) + 1
}

// place is a task in the queue, and the root of a treap: a search tree by seq
// and a heap by random weights, which keep it flat whatever the order in which
// tasks come and go. nil is an empty one.
type place struct {
	id          task.ID
	seq         uint64
	weight      uint32
	size        int // of the whole tree
	left, right *place
}

func (p *place) count() int {
	if p == nil {
		return 0
	}
	return p.size
}

func (p *place) counted() *place {
	p.size = p.left.count() + 1 + p.right.count()
	return p
}

// before counts the places whose sequence is lower.
func (p *place) before(seq uint64) (n int) {
	for p != nil {
		if seq <= p.seq {
			p = p.left
		} else {
			n += p.left.count() + 1
			p = p.right
		}
	}
	return n
}

func (p *place) with(q *place) *place {
	switch {
	case p == nil:
		return q
	case q.weight > p.weight:
		q.left, q.right = p.split(q.seq)
		return q.counted()
	case q.seq < p.seq:
		p.left = p.left.with(q)
	default:
		p.right = p.right.with(q)
	}
	return p.counted()
}

func (p *place) without(seq uint64) *place {
	switch {
	case p == nil:
		return nil
	case seq < p.seq:
		p.left = p.left.without(seq)
	case seq > p.seq:
		p.right = p.right.without(seq)
	default:
		return p.left.joined(p.right)
	}
	return p.counted()
}

// split parts the places before seq from the others.
func (p *place) split(seq uint64) (before, rest *place) {
	switch {
	case p == nil:
		return nil, nil
	case p.seq < seq:
		p.right, rest = p.right.split(seq)
		return p.counted(), rest
	default:
		before, p.left = p.left.split(seq)
		return before, p.counted()
	}
}

// joined undoes a split: all of p comes before all of q.
func (p *place) joined(q *place) *place {
	switch {
	case p == nil:
		return q
	case q == nil:
		return p
	case p.weight > q.weight:
		p.right = p.right.joined(q)
		return p.counted()
	default:
		q.left = p.joined(q.left)
		return q.counted()
	}
}
