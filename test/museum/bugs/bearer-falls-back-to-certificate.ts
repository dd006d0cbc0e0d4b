import type { Bug } from '../bug.ts';

export const bug: Bug = {
  story:
    'A bearer that is not believed is passed over, and the client certificate of the connection decides. A key that was ' +
    'revoked goes on to work wherever a mesh gives each workload a certificate, and nobody sees that it was used.',
  edits: [
    {
      file: 'src/access/authenticator.ts',
      find: '    } catch (error) {\n      return this.#refused(method, head, error);',
      replace:
        "    } catch (error) {\n      if (method === 'key' || method === 'token') return this.authenticate({ ...head, headers: {} });\n      return this.#refused(method, head, error);",
    },
  ],
  caughtBy: {
    file: 'test/access/authenticator.test.ts',
    test: 'that expired or is unknown decides alone too, whether it is a key or a token',
  },
};
