// Package dump is the format of a dump: it writes what a task.Source holds as
// lines, masks what looks like a secret, shows the lines as other formats, and
// reads them back into a new database.
//
// It may import engine/task. It must never know where a source has its tasks
// from: no database, no socket, no spool file.
//
// A dump is JSON Lines:
//
//	{"type":"header","format":"cctask-dump","version":1,"schema":2}
//	{"type":"task","task":{...},"attempts":[...],"session_costs":{...}}
//	{"type":"prompt","id":"...","attempt":1,"offset":0,"text":"..."}
//	{"type":"output","id":"...","attempt":1,"stream":"stdout","offset":0,"base64":"..."}
//	{"type":"result","id":"...","attempt":1,"offset":0,"text":"..."}
//	{"type":"end","tasks":1,"bytes":123}
//
// Tasks stand oldest first, each with the pieces of its streams behind it: text
// where they are UTF-8, else base64. A task that was removed while it was read
// ends with {"type":"removed","id":"...","removed":true}. A dump without an end
// line is not whole. A header with "groups" says what is set of groups, but not in a dump
// of named tasks; one with "output" is that of a dump whose outputs are
// cut or left out; an end line with "redacted" says how many values are masked.
// The same content makes the same bytes, wherever it is read from.
package dump
