import * as z from 'zod';
import { configSchema } from './schema.ts';

/** The JSON Schema of the config file, for editors (draft 7, which the YAML language server reads). The checked-in copy is lingpai.schema.json. */
export function configJsonSchema(): string {
  const { $schema, ...rest } = z.toJSONSchema(configSchema, { io: 'input', target: 'draft-7' });
  const title = 'Lingpai configuration';
  const description =
    'The config file of the lingpai token broker. Durations are a whole number and a unit: 500ms, 5s, 15m, 1h.';
  return `${JSON.stringify({ $schema, title, description, ...rest }, null, 2)}\n`;
}
