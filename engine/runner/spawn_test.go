package runner

import "testing"

// Without a path there is no gap in the message.
func TestSpawnErrorText(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]SpawnError{
		"look before the launch: working_dir: gone": {Op: "look before the launch", Err: "working_dir: gone"},
		"exec /c: no such file or directory":        {Op: "exec", Path: "/c", Err: "no such file or directory"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
