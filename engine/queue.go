package engine

import (
	"container/heap"

	"cctask/engine/task"
)

// queue orders the queued tasks by the sequence that each took when it entered.
// It mirrors the store's queue, but for a task that an attempt is about to
// claim. Guarded by Engine.mu.
type queue struct {
	items queueHeap
	seqs  map[task.ID]uint64 // the queued ones; an item that is not in it left early
}

type queueItem struct {
	id  task.ID
	seq uint64
}

func (q *queue) push(id task.ID, seq uint64) {
	if q.seqs == nil {
		q.seqs = map[task.ID]uint64{}
	}
	if q.seqs[id] == seq {
		return
	}
	q.seqs[id] = seq
	heap.Push(&q.items, queueItem{id, seq})
}

// pop takes the task that has waited longest.
func (q *queue) pop() (task.ID, bool) {
	for len(q.items) > 0 {
		it := heap.Pop(&q.items).(queueItem)
		if q.seqs[it.id] == it.seq {
			delete(q.seqs, it.id)
			return it.id, true
		}
	}
	return "", false
}

func (q *queue) remove(id task.ID) { delete(q.seqs, id) }

func (q *queue) len() int { return len(q.seqs) }

// position is the task's place in the queue from 1, or 0 if it is not queued.
func (q *queue) position(id task.ID) int {
	mine, ok := q.seqs[id]
	if !ok {
		return 0
	}
	n := 1
	for _, seq := range q.seqs {
		if seq < mine {
			n++
		}
	}
	return n
}

type queueHeap []queueItem

func (h queueHeap) Len() int           { return len(h) }
func (h queueHeap) Less(i, j int) bool { return h[i].seq < h[j].seq }
func (h queueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *queueHeap) Push(x any)        { *h = append(*h, x.(queueItem)) }
func (h *queueHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	*h = old[:len(old)-1]
	return it
}
