package backends

import "syscall"

// attributes put a process into a group of its own, so that an interrupt from the terminal reaches only this one, and have
// the kernel end it when this one dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
