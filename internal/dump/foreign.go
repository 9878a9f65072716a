package dump

import (
	"bytes"
	"fmt"

	"cctask/engine/task"
)

const (
	bom       = "\xef\xbb\xbf"
	dumpAgain = "Dump again as JSON Lines, which is what `cctask dump > FILE` writes."
	unpack    = "Unpack it first: `%s FILE | cctask restore -`."
	// headSize holds what tells a database: its mark behind the first page's header.
	headSize = 20
)

// foreign tells what a file is that does not begin as a dump does, by its first
// bytes, so that nobody is told of a syntax error in a file that is whole.
func foreign(head []byte) error {
	rest, marked := bytes.CutPrefix(head, []byte(bom))
	for _, f := range []struct{ begin, what, hint string }{
		{"\x1f\x8b", "it is packed with gzip", fmt.Sprintf(unpack, "gunzip -c")},
		{"\x28\xb5\x2f\xfd", "it is packed with zstd", fmt.Sprintf(unpack, "zstd -dc")},
		{"\xfd7zXZ\x00", "it is packed with xz", fmt.Sprintf(unpack, "xz -dc")},
		{"BZh", "it is packed with bzip2", fmt.Sprintf(unpack, "bunzip2 -c")},
		{"PK\x03\x04", "it is a zip archive", fmt.Sprintf(unpack, "unzip -p")},
		{"\xff\xfe", "it is UTF-16 text", "Some shells' > rewrites what it gets: dump again with `cctask dump -o FILE`."},
		{"\xfe\xff", "it is UTF-16 text", "Some shells' > rewrites what it gets: dump again with `cctask dump -o FILE`."},
		{"task_id,", "it is CSV, which has no outputs", dumpAgain},
		{"id,", "it is CSV, which has no outputs", dumpAgain},
		{"# ", "it is Markdown, which has no outputs", dumpAgain},
		{"<", "it is HTML, such as `cctask report` writes", dumpAgain},
		{`{"header"`, "it is JSON, not JSON Lines", dumpAgain},
		{"[", "it is JSON, not JSON Lines", dumpAgain},
		{"{\n", "it is JSON, not JSON Lines", dumpAgain},
		{"{\r\n", "it is JSON, not JSON Lines", dumpAgain},
	} {
		if bytes.HasPrefix(rest, []byte(f.begin)) {
			return &task.Error{Code: task.CodeInvalid, Message: "this is no dump in JSON Lines: " + f.what, Hint: f.hint}
		}
	}
	switch {
	case len(head) == headSize && string(head[16:]) == "\xed\xda\x0c\xed":
		return task.Errorf(task.CodeInvalid, "Read it with `cctask dump --db FILE`, or put it as tasks.db into a state directory.", "this is no dump in JSON Lines: it is a database itself")
	case marked:
		return task.Errorf(task.CodeInvalid, "Dump again with `cctask dump -o FILE`; or cut the mark off, if nothing else was changed: `tail -c +4 FILE | cctask restore -`.",
			"the dump has a byte order mark (BOM) before it, so something rewrote it")
	}
	return nil
}
