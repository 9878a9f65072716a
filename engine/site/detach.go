package site

import "syscall"

// detached keeps the signals of a terminal, which are for its front, from a pipe's command.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
