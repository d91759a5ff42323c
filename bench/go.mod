module shmkit/bench

go 1.26.3

require (
	github.com/cloudwego/shmipc-go v0.2.0
	github.com/rs/zerolog v1.35.1
	gvisor.dev/gvisor v0.0.0-20250503011706-39ed1f5ac29c
	shmkit v0.0.0
)

require (
	github.com/bytedance/gopkg v0.0.0-20220817015305-b879a72dc90f // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/edsrzf/mmap-go v1.2.0 // indirect
	github.com/go-ole/go-ole v1.2.6 // indirect
	github.com/gofrs/flock v0.13.1 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/phuslu/log v1.0.121 // indirect
	github.com/power-devops/perfstat v0.0.0-20210106213030-5aafc221ea8c // indirect
	github.com/shirou/gopsutil/v3 v3.22.1 // indirect
	github.com/yusufpapurcu/wmi v1.2.2 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace (
	shmkit => ..
	shmkit/adapters => ../adapters
)
