//go:build unix && !linux

package backends

import "syscall"

// attributes put a process into a group of its own, so that an interrupt from the terminal reaches only this one. It ends
// by itself when this one does.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
