module lingpai.example/clients/go/adapters/chanxuehong

go 1.24.0

require (
	github.com/chanxuehong/wechat v0.0.0-20230222024006-36f0325263cd
	lingpai.example/clients/go v0.0.0
)

require (
	github.com/chanxuehong/rand v0.0.0-20211009035549-2f07823e8e99 // indirect
	github.com/chanxuehong/util v0.0.0-20200304121633-ca8141845b13 // indirect
	golang.org/x/net v0.48.0 // indirect
	golang.org/x/sys v0.39.0 // indirect
	golang.org/x/text v0.32.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20251202230838-ff82c1b0f217 // indirect
	google.golang.org/grpc v1.79.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace lingpai.example/clients/go => ../..
