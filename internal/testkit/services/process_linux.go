package services

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// serverUser returns the user that servers run as, or nil to run them as the
// user we are.
func serverUser() *credential {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID == nil && errGID == nil {
			return &credential{uid: uint32(uid), gid: uint32(gid)}
		}
	}
	return nil
}

// processAttributes puts a server in a process group of its own, so that Ctrl-C
// reaches it only through us and after the tests have ended, and has the kernel
// end it should we be killed.
func processAttributes(owner *credential, onOurDeath syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: onOurDeath}
	if owner != nil {
		attr.Credential = &syscall.Credential{Uid: owner.uid, Gid: owner.gid}
	}
	return attr
}
