//go:build unix && !linux

package signals

import "syscall"

// Attributes put a child into a process group of its own, so that an interrupt from the terminal reaches only
// this process.
func Attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
