package signals

import "syscall"

// Attributes put a child into a process group of its own, so that an interrupt from the terminal reaches only
// this process, and have the kernel end the child when this process dies.
func Attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
