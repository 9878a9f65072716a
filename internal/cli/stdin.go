package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cctask/engine/task"
	"cctask/internal/show"
)

// silence is how long a pipe may carry nothing: one that a program left open
// behind us would hold us for ever. `claude -p` waits as long.
const silence = 3 * time.Second

const leaveStdin = "`< /dev/null` leaves stdin alone"

// promptWithStdin is the prompt, followed by what is piped or redirected to us,
// as `claude -p` has it.
func (a *app) promptWithStdin(file string, args []string) (string, error) {
	prompt, err := a.prompt(file, args)
	if err != nil || file == "-" || file == "" && (len(args) == 0 || args[0] == "-") {
		return prompt, err
	}
	// An unset variable of a script must not make a prompt of stdin alone.
	if err := task.CheckPrompt(prompt); err != nil {
		return "", err
	}
	more, err := a.piped()
	if err != nil {
		return "", badInput(fmt.Sprintf("read what follows the prompt from stdin: %v", err), "Put longer material into a file and name that in the prompt; "+leaveStdin+".")
	}
	if len(more) == 0 {
		return prompt, nil
	}
	fmt.Fprintf(a.Stderr, "cctask: %s of stdin follow the prompt; %s\n", show.Bytes(int64(len(more))), leaveStdin)
	return strings.TrimRight(prompt, "\r\n") + "\n\n" + string(more), nil
}

// piped is what a pipe, a socket or a file at stdin holds. A terminal and
// /dev/null are not read: nobody has sent anything.
func (a *app) piped() ([]byte, error) {
	f, ok := a.Stdin.(*os.File)
	if !ok {
		return nil, nil
	}
	fi, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case fi.Mode().IsRegular():
		// The rest of a file is of somebody who reads it piece by piece, such as a
		// shell's loop over its lines.
		if at, err := f.Seek(0, io.SeekCurrent); err != nil || at > 0 {
			if at < fi.Size() {
				fmt.Fprintln(a.Stderr, "cctask: stdin is a file whose beginning somebody has read; the rest is left to them, and the prompt stands alone")
			}
			return nil, err
		}
	case fi.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0:
		if some, err := readable(f, silence); err != nil || !some {
			fmt.Fprintf(a.Stderr, "cctask: nothing came on stdin for %s, and the prompt stands alone; %s\n", silence, leaveStdin)
			return nil, err
		}
	default:
		return nil, nil
	}
	return a.readAll("-", task.MaxPrompt)
}

// readable waits until a read of f would not block: for bytes or the end.
func readable(f *os.File, most time.Duration) (bool, error) {
	for end := time.Now().Add(most); ; {
		left := max(0, time.Until(end))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n > 0, err
		}
	}
}
