// Writes the client libraries' own copy of the messages of TokenService: `npm run generate` runs it. The package differs, since two
// copies of one proto package in a process are an error (Go ends at its start), and a service may hold stubs of its own.
import { readFileSync, writeFileSync } from 'node:fs';

const source = readFileSync(new URL('../../proto/lingpai/v1/token.proto', import.meta.url), 'utf8');
const messages = source.slice(source.indexOf('// GetRequest names an app.'));

/** What an error carries, in the copy too: google.rpc's Status, ErrorInfo and RetryInfo, which are alike on the wire. */
const errors = `
// Status is google.rpc.Status: what the trailer \`grpc-status-details-bin\` holds.
message Status {
  int32 code = 1;
  string message = 2;
  repeated google.protobuf.Any details = 3;
}

// ErrorInfo is google.rpc.ErrorInfo.
message ErrorInfo {
  string reason = 1;
  string domain = 2;
  map<string, string> metadata = 3;
}

// RetryInfo is google.rpc.RetryInfo.
message RetryInfo {
  google.protobuf.Duration retry_delay = 1;
}
`;

const head = `// Made from proto/lingpai/v1/token.proto by copy.ts. Do not edit.
syntax = "proto3";

package lingpai.client.v1;

import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/timestamp.proto";

`;

writeFileSync(new URL('lingpai/client/v1/client.proto', import.meta.url), `${head}${messages}${errors}`);
