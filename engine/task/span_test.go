package task_test

import (
	"testing"
	"time"

	"cctask/engine/task"
)

func TestSpanText(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", 2 * time.Hour: "2h", 36 * time.Hour: "36h",
		61 * time.Minute: "1h1m", 3605 * time.Second: "1h0m5s", 720 * time.Hour: "30d", 10 * time.Second: "10s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := task.SpanText(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}
