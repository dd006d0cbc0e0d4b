// Writes lingpai.schema.json anew. `npm run generate` runs it.
import { writeFile } from 'node:fs/promises';
import { configJsonSchema } from './schema-json.ts';

await writeFile(new URL('../../lingpai.schema.json', import.meta.url), configJsonSchema());
