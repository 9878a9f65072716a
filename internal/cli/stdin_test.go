package cli_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// A pipe that somebody left open holds nobody up for ever.
func TestSilentPipe(t *testing.T) {
	t.Parallel()
	p := newPerson(t)
	read, write, err := os.Pipe()
	check(t, err)
	defer write.Close()
	cmd := p.command("run", "[[text alone]]")
	cmd.Stdin = read
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	check(t, cmd.Run())
	if out.String() != "alone\n" || !strings.Contains(errs.String(), "nothing came on stdin for 3s") {
		t.Errorf("got %q, %q", out.String(), errs.String())
	}
}
